//! Pings that count what is lost.

use std::time::Duration;

use crate::kernel::temporary;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait;

/// A ping every 20 ms, from its start to [`Ping::stop`].
#[derive(Debug)]
pub struct Ping {
    process: Process,
    target: String,
    _folder: tempfile::TempDir,
}

/// What a [`Ping`] saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PingReport {
    /// Packets sent.
    pub sent: u32,
    /// Packets answered.
    pub received: u32,
}

impl PingReport {
    /// Packets that were not answered.
    pub fn lost(&self) -> u32 {
        self.sent.saturating_sub(self.received)
    }
}

impl Ping {
    /// Starts pinging, and returns once the first answer is in.
    ///
    /// # Panics
    /// When no answer comes within five seconds.
    #[track_caller]
    pub fn start(from: &Netns, target: &str) -> Ping {
        let folder = temporary();
        let mut command = from.command("ping");
        command.args(["-n", "-i", "0.02", "-W", "1", target]);
        let process = Process::start("ping", command, &folder.path().join("ping"));
        let ping = Ping {
            process,
            target: target.to_owned(),
            _folder: folder,
        };
        let is_answered = || ping.process.output().contains("bytes from");
        wait::until_eq(
            &format!("an answer of {target}"),
            Duration::from_secs(5),
            is_answered,
            &true,
        );
        ping
    }

    /// Ends it and counts.
    ///
    /// # Panics
    /// When `ping` does not say its summary.
    #[track_caller]
    pub fn stop(mut self) -> PingReport {
        self.process.signal("INT");
        self.process.wait(Duration::from_secs(5));
        let output = self.process.output();
        let summary = output.lines().find(|line| line.contains("packets transmitted"));
        let numbers: Vec<u32> = summary
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        match numbers[..] {
            // The one under way when the signal came may be unanswered: it was sent, and nobody waited.
            [sent, received, ..] => PingReport { sent, received },
            _ => panic!("ping {} said no summary: {output}", self.target),
        }
    }
}

/// Whether one ping out of three is answered.
pub fn answers(from: &Netns, target: &str) -> bool {
    let output = from
        .command("ping")
        .args(["-n", "-c", "3", "-i", "0.02", "-W", "1", target])
        .output();
    output.is_ok_and(|output| output.status.success())
}
