//! Network namespaces that go away by themselves.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static SWEPT: Once = Once::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A number for the names of one topology, unique in this process.
pub fn next_number() -> u32 {
    SWEPT.call_once(sweep);
    NEXT.fetch_add(1, Ordering::Relaxed)
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

/// Deletes namespaces of runs that were killed.
fn sweep() {
    let is_root = run("id", &["-u"]).trim() == "0";
    assert!(is_root, "the testbed makes network namespaces: run it as root");
    for line in run("ip", &["netns", "list"]).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let pid = name.strip_prefix("pp").and_then(|rest| rest.split('-').next());
        if let Some(pid) = pid.filter(|pid| pid.parse::<u32>().is_ok())
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}
