//! Programs that run for as long as their value lives, with their output kept for the moment something fails.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wait;

/// A running program. Dropped, it is killed, and if the thread is failing its last words are shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command, its output going to `log` (appended, so that a restart keeps the history).
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Process {
        let open = || match File::options().create(true).append(true).open(log) {
            Ok(file) => file,
            Err(error) => panic!("cannot write {}: {error}", log.display()),
        };
        // A group of its own: Ctrl-C at the terminal is for the one who started it all.
        command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .process_group(0);
        match command.spawn() {
            Ok(child) => Process {
                name: name.to_owned(),
                child,
                log: log.to_owned(),
            },
            Err(error) => panic!("cannot start {name} ({:?}): {error}", command.get_program()),
        }
    }

    /// The process id (`ip netns exec` becomes the program, so it is the program's own).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, `TERM`, `KILL`, `STOP`.
    pub fn signal(&self, signal: &str) {
        // One that has just ended needs no signal.
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid().to_string()])
            .output();
    }

    /// Waits for the end; the exit code, `None` after a signal.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> Option<i32> {
        let what = format!("end of {}", self.name);
        let (status, _) = wait::until(
            &what,
            deadline,
            || self.child.try_wait().ok().flatten(),
            Option::is_some,
        );
        status.and_then(|status| status.code())
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything that it has written.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- last words of {} ---\n{}", self.name, last.join("\n"));
        }
    }
}
