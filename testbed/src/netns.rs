//! Network namespaces that go away by themselves.
//!
//! Three ways lead there: a [`Netns`] deletes its namespace when it is dropped, also by a failing test; a guard
//! outside this process waits for its end and clears what is left, so that Ctrl-C, a time-out's SIGTERM and even
//! SIGKILL leave nothing; and what outlived the guard too (a machine that went down), the next run clears first.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// Runs for as long as this process does, and somewhat longer.
static GUARD: OnceLock<Child> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Ends the programs in the namespaces of process `$1` and deletes them, and its temporary folders in `$2`.
///
/// Programs first: a namespace that still holds one lives on without a name, and so do its daemons.
const CLEAR: &str = r#"
for netns in $(ip netns list | cut -d' ' -f1 | grep "^pp$1-"); do
    ip netns pids "$netns" | xargs -r kill -KILL
    ip netns del "$netns"
done
rm -rf "$2/pipit-testbed-$1-"*
"#;

/// A number for the names of one topology, unique in this process.
///
/// # Panics
/// Without root.
pub fn next_number() -> u32 {
    GUARD.get_or_init(|| {
        let is_root = run("id", &["-u"]).trim() == "0";
        assert!(is_root, "the testbed makes network namespaces: run it as root");
        sweep();
        match guard() {
            Ok(guard) => guard,
            Err(error) => panic!("cannot start the guard of the namespaces: {error}"),
        }
    });
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// How the names of this process's temporary folders begin; see [`CLEAR`].
pub(crate) fn folder_prefix() -> String {
    format!("pipit-testbed-{}-", std::process::id())
}

/// Starts the guard. The end of its standard input is the end of this process: nobody else holds the other side.
fn guard() -> io::Result<Child> {
    let script = format!("cat\n{CLEAR}");
    let mut command = clear(&script, &std::process::id().to_string());
    // A group of its own, so that a Ctrl-C at the terminal is not the end of the guard as well.
    command.stdin(Stdio::piped()).process_group(0).spawn()
}

fn clear(script: &str, pid: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", pid]).arg(std::env::temp_dir());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// One namespace; dropped, it is deleted.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes `pp<pid>-<topology>-<name>` with its loopback up.
    ///
    /// # Panics
    /// When that fails, most likely for want of root.
    pub fn new(topology: u32, name: &str) -> Netns {
        let name = format!("pp{}-{topology}-{name}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let netns = Netns { name };
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    /// The namespace's name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program in the namespace, not yet started.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Runs `body` on a thread inside: the sockets it makes belong to the namespace wherever they go.
    ///
    /// # Panics
    /// When `body` does, or the namespace is gone.
    #[track_caller]
    pub fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(&self.name);
        let enter = || {
            let entered = File::open(&path).and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?));
            assert!(entered.is_ok(), "cannot enter {}: {entered:?}", path.display());
            body()
        };
        match std::thread::scope(|scope| scope.spawn(enter).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Runs `ip` inside; its standard output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ip(&self, args: &[&str]) -> String {
        run("ip", &[&["-n", self.name.as_str()], args].concat())
    }

    /// Runs `ip` inside; what came of it.
    pub fn try_ip(&self, args: &[&str]) -> Output {
        output("ip", &[&["-n", self.name.as_str()], args].concat())
    }

    /// Sets a kernel setting inside, `net.ipv4.ip_forward` and its like.
    ///
    /// # Panics
    /// When the kernel has no such setting.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        run(
            "ip",
            &[
                "netns",
                "exec",
                &self.name,
                "sysctl",
                "-qw",
                &format!("{name}={value}"),
            ],
        );
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Nothing is left to do about one that somebody else has deleted.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Runs a program to its end; its standard output.
///
/// # Panics
/// When it cannot be started or fails.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> String {
    let output = output(program, args);
    assert!(
        output.status.success(),
        "`{program} {}` failed ({}): {}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn output(program: &str, args: &[&str]) -> Output {
    match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run `{program}`: {error} (`make deps` installs what the testbed needs)"),
    }
}

/// Clears what runs have left whose process is gone.
fn sweep() {
    for line in run("ip", &["netns", "list"]).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let pid = name.strip_prefix("pp").and_then(|rest| rest.split('-').next());
        if let Some(pid) = pid.filter(|pid| pid.parse::<u32>().is_ok())
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            // Somebody else's sweep may be as quick as ours: what is gone already is no failure.
            let _ = clear(CLEAR, pid).status();
        }
    }
}
