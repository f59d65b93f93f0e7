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
    let (raw, cpu) = write_raw(count, Way::Plain)?;
    writeln!(out, "raw      {count} routes: {raw:?}, CPU {cpu:?}")?;
    ip("route flush proto bird")?;
    compare_objects(count, raw, &mut out)?;

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

    let some = count.min(10_000);
    let lines: Outcome<Vec<String>> = (0..some)
        .map(|at| Ok(format!("route del {}", prefix(at)?)))
        .collect();
    let lines = lines?.join("\n");
    let start = Instant::now();
    let hand = std::thread::spawn(move || ip_batch(&lines).map_err(|error| error.to_string()));
    while driver.fib.repaired() < u64::from(some) || !driver.fib.is_settled() {
        driver.carry_out()?;
        let report = driver
            .reports
            .blocking_recv()
            .ok_or("the netlink threads ended")?;
        driver.hear(report);
    }
    let wall = start.elapsed();
    hand.join().map_err(|_| "ip did not run")??;
    writeln!(
        out,
        "repaired {some} routes deleted by hand, their deletion included: {wall:?}"
    )?;

    // Nothing happens: what does that cost?
    let (before, start) = (usage()?, Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let idle = driver.reports.try_recv().is_err();
    let cpu = usage()?.cpu.saturating_sub(before.cpu);
    let share = 100.0 * cpu.as_secs_f64() / start.elapsed().as_secs_f64();
    writeln!(out, "idle     {count} routes: {share:.2} % CPU, silent: {idle}")?;
    Ok(())
}

/// Kernel nexthop objects beside plain routes: writing, and the change of an ECMP set that ten thousand routes share.
fn compare_objects(count: u32, plain: Duration, out: &mut impl Write) -> Outcome<()> {
    ip("nexthop add id 4 via 192.0.2.12 dev eth0 proto bird")?;
    let (wall, cpu) = write_raw(count, Way::Object(4))?;
    let ratio = wall.as_secs_f64() / plain.as_secs_f64();
    writeln!(
        out,
        "objects  {count} routes: {wall:?} ({ratio:.2} x plain), CPU {cpu:?}"
    )?;
    // The routes go with the object; `ip route flush` of iproute2 6.1 fails on them.
    ip("nexthop del id 4")?;
    for words in [
        "nexthop add id 1 via 192.0.2.12 dev eth0 proto bird",
        "nexthop add id 2 via 192.0.2.13 dev eth0 proto bird",
        "nexthop add id 3 via 192.0.2.14 dev eth0 proto bird",
        "nexthop add id 10 group 1/2 proto bird",
    ] {
        ip(words)?;
    }
    let some = count.min(10_000);
    write_raw(some, Way::Object(10))?;
    let start = Instant::now();
    ip("nexthop replace id 10 group 1/3 proto bird")?;
    let as_group = start.elapsed();
    let start = Instant::now();
    ip("nexthop del id 3")?;
    let death = start.elapsed();
    for id in [10, 1, 2] {
        ip(&format!("nexthop del id {id}"))?;
    }
    let (wall, _) = write_raw(some, Way::Ecmp)?;
    writeln!(
        out,
        "ECMP     {some} routes: a group changes in {as_group:?}, a member dies in {death:?} (one `ip` each); \
         plain routes are written anew in {wall:?}"
    )?;
    ip("route flush proto bird")?;
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
        while let Some(work) = self.fib.poll_work() {
            self.requests.try_send(work.into())?;
        }
        Ok(())
    }
}

fn prefix(at: u32) -> Outcome<Ipv4Net> {
    Ok(Ipv4Net::new((0x0a00_0000 + (at << 6)).into(), 26)?)
}

/// How a raw route says where it leads.
#[derive(Clone, Copy)]
enum Way {
    /// Gateway and device.
    Plain,
    /// A nexthop object.
    Object(u32),
    /// Two gateways.
    Ecmp,
}

impl Way {
    /// The attributes.
    fn attributes(self, index: u32) -> Vec<u8> {
        let attribute = |kind: u16, value: &[u8]| {
            let len = 4 + value.len() as u16;
            [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
        };
        let hop = |last: u8| {
            let gateway = attribute(5, &[192, 0, 2, last]);
            let len = 8 + gateway.len() as u16;
            [&len.to_ne_bytes()[..], &[0, 0], &index.to_ne_bytes(), &gateway].concat()
        };
        match self {
            Way::Plain => [attribute(5, &[192, 0, 2, 12]), attribute(4, &index.to_ne_bytes())].concat(),
            Way::Object(id) => attribute(30, &id.to_ne_bytes()),
            Way::Ecmp => attribute(9, &[hop(12), hop(13)].concat()),
        }
    }
}

/// The same routes in datagrams made beforehand: what the kernel itself needs.
fn write_raw(count: u32, way: Way) -> Outcome<(Duration, Duration)> {
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
        let attributes = way.attributes(index);
        let len = 36 + attributes.len() as u32;
        let mut bytes = Vec::with_capacity(chunk.len() * len as usize);
        for &at in chunk {
            // NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, and NLM_F_ACK on the last.
            let flags = if Some(&at) == chunk.last() { 0x605 } else { 0x601 };
            bytes.extend(len.to_ne_bytes());
            bytes.extend(24_u16.to_ne_bytes());
            bytes.extend(u16::to_ne_bytes(flags));
            bytes.extend([0; 8]);
            bytes.extend([2, 26, 0, 0, 254, OURS, 0, 1, 0, 0, 0, 0]);
            bytes.extend([8_u16, 1].map(u16::to_ne_bytes).concat());
            bytes.extend(prefix(at)?.addr().octets());
            bytes.extend(&attributes);
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

fn ip_batch(lines: &str) -> std::io::Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes())?;
    }
    child.wait().map(drop)
}
