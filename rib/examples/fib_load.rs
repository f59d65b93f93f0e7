//! How long many routes take into this kernel, beside the same routes written as raw as it goes.
//!
//! `unshare --net target/release/examples/fib_load 200000`: it needs a namespace of its own, since it makes interfaces
//! and leaves its routes behind.

use std::error::Error;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use pipit_rib::fib::{Fib, FibAction, FibEvent, FibTarget, Hop, Tunnel};
use pipit_rib::io::netlink::{self, Report, Request};
use tokio::sync::mpsc;

/// BIRD's protocol number.
const OURS: u8 = 12;
/// RT_TABLE_MAIN.
const MAIN: u32 = 254;
/// Messages in one datagram of the raw writer.
const PER_DATAGRAM: usize = 512;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let count: u32 = std::env::args()
        .nth(1)
        .map_or(Ok(200_000), |count| count.parse())?;
    for words in [
        "link add eth0 type veth peer name peer0",
        "link set peer0 up",
        "link set eth0 up",
        "address add 192.0.2.1/24 dev eth0",
    ] {
        ip(words)?;
    }
    let mut out = std::io::stdout().lock();
    let (raw, cpu) = write_raw(count)?;
    writeln!(out, "raw      {count} routes: {raw:?}, CPU {cpu:?}")?;
    ip("route flush proto bird")?;

    let mut driver = Driver::start()?;
    // The peak so far is the raw writer's: forget it.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = usage()?;
    let start = Instant::now();
    driver.fill(count)?;
    let (wall, after) = (start.elapsed(), usage()?);
    let ratio = wall.as_secs_f64() / raw.as_secs_f64();
    let cpu = after.cpu.saturating_sub(before.cpu);
    let grown = after.peak_kib - before.peak_kib;
    writeln!(
        out,
        "written  {count} routes: {wall:?} ({ratio:.2} x raw), CPU {cpu:?}, memory +{grown} KiB"
    )?;
    drop(driver);

    let (before, start) = (usage()?, Instant::now());
    let mut driver = Driver::start()?;
    driver.fill(count)?;
    driver.fib.allow_sweep();
    driver.settle()?;
    let cpu = usage()?.cpu.saturating_sub(before.cpu);
    let (wall, counts) = (start.elapsed(), driver.fib.counts());
    writeln!(out, "adopted  {count} routes: {wall:?}, CPU {cpu:?}, {counts:?}")?;
    Ok(())
}

struct Driver {
    fib: Fib,
    requests: mpsc::Sender<Request>,
    reports: mpsc::Receiver<Report>,
}

impl Driver {
    fn start() -> Outcome<Self> {
        let (requests, reports) = netlink::spawn(MAIN)?;
        requests.try_send(Request::Dump)?;
        let fib = Fib::new(OURS);
        let mut driver = Driver {
            fib,
            requests,
            reports,
        };
        driver.settle()?;
        Ok(driver)
    }

    fn fill(&mut self, count: u32) -> Outcome<()> {
        let hop = Hop {
            next_hop: "192.0.2.12".parse()?,
            link_local: None,
            weight: 1,
            tunnel: Tunnel::None,
        };
        let action = FibAction::Via([hop].into_iter().collect());
        let target = FibTarget { action, metric: 0 };
        for at in 0..count {
            self.fib.set(prefix(at)?, Some(target.clone()));
            if at % 64 == 0 {
                self.carry_out()?;
                while let Ok(report) = self.reports.try_recv() {
                    self.hear(report);
                }
            }
        }
        self.settle()
    }

    fn settle(&mut self) -> Outcome<()> {
        loop {
            self.carry_out()?;
            if self.fib.is_settled() {
                return Ok(());
            }
            let report = self.reports.blocking_recv().ok_or("the netlink threads ended")?;
            self.hear(report);
        }
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Events(events) => self.fib.handle_kernel(events),
            Report::Applied(refusals) => self.fib.handle_result(&refusals),
        }
    }

    fn carry_out(&mut self) -> Outcome<()> {
        while let Some(event) = self.fib.poll_event() {
            if event == FibEvent::WantsDump {
                self.requests.try_send(Request::Dump)?;
            }
        }
        while let Some(batch) = self.fib.poll_batch() {
            self.requests.try_send(Request::Apply(batch))?;
        }
        Ok(())
    }
}

fn prefix(at: u32) -> Outcome<Ipv4Net> {
    Ok(Ipv4Net::new((0x0a00_0000 + (at << 6)).into(), 26)?)
}

/// The same routes in datagrams made beforehand: what the kernel itself needs.
fn write_raw(count: u32) -> Outcome<(Duration, Duration)> {
    let index: u32 = ip("-o link show eth0")?
        .split(':')
        .next()
        .ok_or("no index")?
        .trim()
        .parse()?;
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut datagrams = Vec::new();
    let all: Vec<u32> = (0..count).collect();
    for chunk in all.chunks(PER_DATAGRAM) {
        let mut bytes = Vec::with_capacity(chunk.len() * 52);
        for &at in chunk {
            // NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, and NLM_F_ACK on the last.
            let flags = if Some(&at) == chunk.last() { 0x605 } else { 0x601 };
            bytes.extend(52_u32.to_ne_bytes());
            bytes.extend(24_u16.to_ne_bytes());
            bytes.extend(u16::to_ne_bytes(flags));
            bytes.extend([0; 8]);
            bytes.extend([2, 26, 0, 0, 254, OURS, 0, 1, 0, 0, 0, 0]);
            for (kind, value) in [
                (1_u16, prefix(at)?.addr().octets()),
                (5, [192, 0, 2, 12]),
                (4, index.to_ne_bytes()),
            ] {
                bytes.extend(8_u16.to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.extend(value);
            }
        }
        datagrams.push(bytes);
    }
    let mut answer = Vec::with_capacity(1 << 16);
    let (before, start) = (usage()?.cpu, Instant::now());
    for datagram in &datagrams {
        socket.send_to(datagram, &SocketAddr::new(0, 0), 0)?;
        answer.clear();
        socket.recv(&mut answer, 0)?;
        if answer.get(16..20) != Some(&[0; 4]) {
            return Err("the kernel refused a route".into());
        }
    }
    Ok((start.elapsed(), usage()?.cpu.saturating_sub(before)))
}

#[derive(Clone, Copy)]
struct Usage {
    cpu: Duration,
    peak_kib: u64,
}

/// CPU time of all threads, in clock ticks of 10 ms, and the most memory so far.
fn usage() -> Outcome<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmHWM")?;
    Ok(Usage {
        cpu: Duration::from_millis(10 * (ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0))),
        peak_kib: peak.parse()?,
    })
}

fn ip(words: &str) -> std::io::Result<String> {
    let output = Command::new("ip").args(words.split_whitespace()).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(std::io::Error::other(format!("ip {words}: {error}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
