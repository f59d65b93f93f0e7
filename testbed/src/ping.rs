//! Pings that count what is lost.

use std::collections::BTreeSet;
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
    /// Packets that could be answered.
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
        match PingReport::parse(&output) {
            Some(report) => report,
            None => panic!("ping {} said no summary: {output}", self.target),
        }
    }
}

impl PingReport {
    /// Counts by sequence number. The last packet does not count when nothing came back: it may have been under way
    /// when the ping was ended, and nobody waited for it.
    fn parse(output: &str) -> Option<PingReport> {
        let summary = output.lines().find(|line| line.contains("packets transmitted"))?;
        let sent: u32 = summary.split_whitespace().next()?.parse().ok()?;
        let number =
            |line: &str| -> Option<u32> { line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok() };
        // "Destination unreachable" has a sequence number too, and is no answer.
        let answered: BTreeSet<u32> = output
            .lines()
            .filter(|line| line.contains(" bytes from "))
            .filter_map(number)
            .collect();
        let is_under_way = sent > 1 && !output.contains(&format!("icmp_seq={sent} "));
        Some(PingReport {
            sent: sent - u32::from(is_under_way),
            received: answered.len().try_into().ok()?,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_no_answer_and_the_packet_under_way_is_no_loss() {
        let output = "\
64 bytes from 10.65.3.2: icmp_seq=1 ttl=62 time=0.255 ms
From 172.31.1.11 icmp_seq=2 Destination Net Unreachable
64 bytes from 10.65.3.2: icmp_seq=4 ttl=62 time=0.013 ms
64 bytes from 10.65.3.2: icmp_seq=4 ttl=62 time=0.016 ms (DUP!)

--- 10.65.3.2 ping statistics ---
5 packets transmitted, 2 received, +1 duplicates, +1 errors, 60% packet loss, time 80ms
";
        let report = PingReport::parse(output).unwrap();
        assert_eq!(report, PingReport { sent: 4, received: 2 });
        assert_eq!(report.lost(), 2);
        assert_eq!(PingReport::parse("PING 10.65.3.2"), None);
    }

    #[test]
    fn a_last_packet_that_was_refused_is_a_loss() {
        let output = "\
64 bytes from 10.65.3.2: icmp_seq=1 ttl=62 time=0.255 ms
From 172.31.1.11 icmp_seq=2 Destination Net Unreachable
2 packets transmitted, 1 received, +1 errors, 50% packet loss, time 20ms
";
        assert_eq!(PingReport::parse(output).map(|report| report.lost()), Some(1));
    }
}
