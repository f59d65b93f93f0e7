//! Pings that count what is lost.

use std::collections::HashSet;
use std::time::Duration;

use crate::kernel::temporary;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait;

/// Every millisecond: what is lost for longer is seen.
pub const FINE: Duration = Duration::from_millis(1);
const COARSE: Duration = Duration::from_millis(20);
/// Packets sent within this time before the end may still have been under way.
const UNDER_WAY: Duration = Duration::from_millis(20);
/// `ping` counts in sixteen bits.
const SEQUENCE: u32 = 1 << 16;

/// A ping every so often, from its start to [`Ping::stop`].
#[derive(Debug)]
pub struct Ping {
    process: Process,
    target: String,
    interval: Duration,
    _folder: tempfile::TempDir,
}

/// What a [`Ping`] saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PingReport {
    /// Packets that could be answered.
    pub sent: u32,
    /// Packets answered.
    pub received: u32,
    /// Number of the first packet without an answer, from 1.
    pub first_lost: Option<u32>,
}

impl PingReport {
    /// Packets that were not answered.
    pub fn lost(&self) -> u32 {
        self.sent.saturating_sub(self.received)
    }
}

impl Ping {
    /// Pings every 20 ms.
    ///
    /// # Panics
    /// As [`Self::every`].
    #[track_caller]
    pub fn start(from: &Netns, target: &str) -> Ping {
        Ping::every(COARSE, from, target)
    }

    /// Starts pinging, and returns once the first answer is in.
    ///
    /// # Panics
    /// When no answer comes within five seconds.
    #[track_caller]
    pub fn every(interval: Duration, from: &Netns, target: &str) -> Ping {
        let folder = temporary();
        let mut command = from.command("ping");
        let seconds = interval.as_secs_f64().to_string();
        command.args(["-n", "-i", &seconds, "-W", "1", target]);
        let process = Process::start("ping", command, &folder.path().join("ping"));
        let ping = Ping {
            process,
            target: target.to_owned(),
            interval,
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
        let under_way = UNDER_WAY.as_millis() / self.interval.as_millis().max(1);
        match PingReport::parse(&output, under_way as u32) {
            Some(report) => report,
            None => panic!("ping {} said no summary: {output}", self.target),
        }
    }
}

impl PingReport {
    /// Counts what came back. The last packets, at most `under_way` of them, do not count when nothing came back of
    /// them: nobody waited.
    fn parse(output: &str, under_way: u32) -> Option<PingReport> {
        let summary = output.lines().find(|line| line.contains("packets transmitted"))?;
        let sent: u32 = summary.split_whitespace().next()?.parse().ok()?;
        let number =
            |line: &str| -> Option<u32> { line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok() };
        // "Destination unreachable" has a sequence number too, and is no answer.
        let answers = || {
            let lines = output.lines().filter(|line| line.contains(" bytes from "));
            lines.filter(|line| !line.contains("(DUP!)")).filter_map(number)
        };
        let heard = output.lines().rev().find_map(number);
        let waiting = heard.map_or(0, |last| (sent % SEQUENCE + SEQUENCE - last) % SEQUENCE);
        let uncounted = if waiting <= under_way { waiting } else { 0 };
        let sent = sent - uncounted;
        let received: HashSet<u32> = answers().collect();
        Some(PingReport {
            sent,
            received: answers().count().try_into().ok()?,
            first_lost: (1..=sent).find(|number| !received.contains(&(number % SEQUENCE))),
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
        let report = PingReport::parse(output, 1).unwrap();
        let expected = PingReport {
            sent: 4,
            received: 2,
            first_lost: Some(2),
        };
        assert_eq!(report, expected);
        assert_eq!(report.lost(), 2);
        assert_eq!(PingReport::parse("PING 10.65.3.2", 1), None);
    }

    #[test]
    fn a_last_packet_that_was_refused_is_a_loss() {
        let output = "\
64 bytes from 10.65.3.2: icmp_seq=1 ttl=62 time=0.255 ms
From 172.31.1.11 icmp_seq=2 Destination Net Unreachable
2 packets transmitted, 1 received, +1 errors, 50% packet loss, time 20ms
";
        assert_eq!(PingReport::parse(output, 1).map(|report| report.lost()), Some(1));
    }

    #[test]
    fn what_is_silent_for_longer_than_the_end_takes_is_lost() {
        let answered =
            (1..=5).map(|seq| format!("64 bytes from 10.65.3.2: icmp_seq={seq} ttl=62 time=0.2 ms\n"));
        let output = answered.collect::<String>() + "30 packets transmitted, 5 received, 83% packet loss\n";
        let lost = |under_way| PingReport::parse(&output, under_way).map(|report| report.lost());
        assert_eq!((lost(20), lost(25)), (Some(25), Some(0)));
    }
}
