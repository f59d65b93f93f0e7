//! pipitd on a node, and its command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::kernel::temporary;
use crate::netns::Netns;
use crate::process::Process;
use crate::topology::Node;
use crate::wait;

/// Where pipitd reads its configuration.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder of manifests.
    File(PathBuf),
    /// etcd endpoints.
    Etcd(String),
}

/// A node's pipitd. It can be ended and started again; its socket and its log stay.
#[derive(Debug)]
pub struct Pipit {
    name: String,
    source: Source,
    arguments: Vec<String>,
    /// Octets of the log that are of earlier runs.
    earlier_log: usize,
    process: Option<Process>,
    // After the process, whose last words are read from it.
    folder: tempfile::TempDir,
}

/// The path of one of our programs: `PIPITD`, `PIPIT`, or beside the test's own.
pub fn program(name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(name.to_uppercase()) {
        return path.into();
    }
    let exe = std::env::current_exe().unwrap_or_default();
    let folder = exe.ancestors().find(|folder| folder.join(name).is_file());
    match folder {
        Some(folder) => folder.join(name),
        None => panic!(
            "{name} is not built: `cargo build --profile ci -p pipit`, or set {}",
            name.to_uppercase()
        ),
    }
}

impl Pipit {
    /// Starts the daemon of a node.
    pub fn start(node: &Node, source: &Source) -> Pipit {
        Pipit::start_as(&node.netns, &node.name, source, &[])
    }

    /// Starts a daemon in a namespace under a node's name, with further arguments.
    pub fn start_as(netns: &Netns, name: &str, source: &Source, arguments: &[&str]) -> Pipit {
        let mut pipit = Pipit {
            name: name.to_owned(),
            source: source.clone(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folder: temporary(),
            earlier_log: 0,
            process: None,
        };
        pipit.resume(netns);
        pipit
    }

    /// Starts it again after [`Self::kill`] or [`Self::terminate`].
    pub fn resume(&mut self, netns: &Netns) {
        let mut command = netns.command(program("pipitd"));
        command.args(["--node-name", &self.name]);
        match &self.source {
            Source::File(path) => command
                .args(["--datastore", "file", "--datastore-path"])
                .arg(path),
            Source::Etcd(endpoints) => command
                .args(["--datastore", "etcd", "--etcd-endpoints", endpoints])
                .arg("--state-dir")
                .arg(self.state_dir()),
        };
        command.arg("--socket").arg(self.socket()).args(&self.arguments);
        self.earlier_log = std::fs::read_to_string(self.log_path()).map_or(0, |log| log.len());
        self.process = Some(Process::start(
            &format!("pipitd of {}", self.name),
            command,
            &self.log_path(),
        ));
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it as an upgrade would; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take()?;
        process.signal("TERM");
        process.wait(Duration::from_secs(10))
    }

    /// The running process.
    ///
    /// # Panics
    /// When it is not running.
    pub fn process(&mut self) -> &mut Process {
        match &mut self.process {
            Some(process) => process,
            None => panic!("pipitd of {} is not running", self.name),
        }
    }

    /// Where it keeps the last good state.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("pipit.sock")
    }

    /// What it has logged since it was started last.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        log.get(self.earlier_log..).unwrap_or_default().to_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Waits for a text in the log.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait::until(
            &format!("`{text}` in the log"),
            Duration::from_secs(10),
            || self.log(),
            |log| log.contains(text),
        );
    }

    /// Runs `pipit` against it.
    pub fn pipit(&self, args: &[&str]) -> Output {
        client(&self.socket(), args)
    }

    /// A list from `pipit -o json`; empty while the daemon does not answer.
    pub fn items(&self, command: &str) -> Vec<Value> {
        let output = self.pipit(&["-o", "json", command]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        document["items"].as_array().cloned().unwrap_or_default()
    }

    /// Names and states of all sessions, in order.
    pub fn sessions(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.items("peers")
            .iter()
            .map(|peer| (text(&peer["name"]), text(&peer["state"])))
            .collect()
    }

    /// How many sessions are Established, and of how many.
    pub fn established(&self) -> (usize, usize) {
        let sessions = self.sessions();
        let up = sessions
            .iter()
            .filter(|(_, state)| state == "Established")
            .count();
        (up, sessions.len())
    }
}

/// Runs `pipit` against a socket.
///
/// # Panics
/// When it cannot be started.
pub fn client(socket: &Path, args: &[&str]) -> Output {
    match Command::new(program("pipit"))
        .arg("--socket")
        .arg(socket)
        .args(args)
        .output()
    {
        Ok(output) => output,
        Err(error) => panic!("cannot run pipit: {error}"),
    }
}
