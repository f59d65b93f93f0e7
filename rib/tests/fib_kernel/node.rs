//! A FIB with its netlink threads, driven as the RIB's task drives it, and an observer of the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use pipit_rib::fib::{
    Fib, FibAction, FibEvent, FibTarget, Hop, KernelEvent, LearnedFrom, LearnedRoute, Tunnel,
};
use pipit_rib::io::netlink::{self, MAIN, Report, Request};
use tokio::sync::mpsc;

/// BIRD's protocol number.
pub(crate) const OURS: u8 = 12;
/// What takes longer than this does not happen.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) fib: Fib,
    requests: mpsc::Sender<Request>,
    reports: mpsc::Receiver<Report>,
    runtime: tokio::runtime::Runtime,
    pub(crate) adopted: Option<usize>,
    pub(crate) changed_next_hops: Vec<IpAddr>,
    /// Other programs' routes that may be announced.
    pub(crate) learned: BTreeMap<IpNet, LearnedRoute>,
}

impl Node {
    /// Starts and waits for the first dump.
    pub(crate) fn start() -> Node {
        Node::start_in(MAIN)
    }

    /// The same, with a table.
    pub(crate) fn start_in(table: u32) -> Node {
        let (requests, reports) = netlink::spawn(table).expect("root may write routes");
        requests.try_send(Request::Dump).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut node = Node {
            fib: if table == MAIN {
                Fib::new(OURS)
            } else {
                Fib::apart(OURS)
            },
            requests,
            reports,
            runtime,
            adopted: None,
            changed_next_hops: Vec::new(),
            learned: BTreeMap::new(),
        };
        node.until("the first dump", |node| node.adopted.is_some());
        node
    }

    pub(crate) fn set(&mut self, prefix: &str, target: Option<FibTarget>) {
        match prefix.parse().unwrap() {
            IpNet::V4(prefix) => self.fib.set(prefix, target),
            IpNet::V6(prefix) => self.fib.set(prefix, target),
        }
    }

    pub(crate) fn set_v4(&mut self, prefix: Ipv4Net, target: Option<FibTarget>) {
        self.fib.set(prefix, target);
    }

    /// Goes on until a condition holds; how long that took.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Node) -> bool) -> Duration {
        let start = Instant::now();
        loop {
            self.carry_out();
            if condition(self) {
                return start.elapsed();
            }
            let left = DEADLINE.checked_sub(start.elapsed());
            let left = left.unwrap_or_else(|| panic!("never: {what}; {:?}", self.fib.query()));
            self.wait(left);
        }
    }

    /// Goes on until nothing is left to write.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> Duration {
        self.until("settled", |node| node.fib.is_settled())
    }

    /// Goes on until all that the kernel has told so far has been read: a change made now is told after it.
    #[track_caller]
    pub(crate) fn catch_up(&mut self) {
        let mark: IpAddr = "240.0.0.1".parse().unwrap();
        self.fib.track(mark);
        for word in ["add", "del"] {
            self.changed_next_hops.clear();
            super::namespace::ip(&format!("route {word} 240.0.0.1/32 via 192.0.2.99"));
            self.until("caught up", |node| node.changed_next_hops.contains(&mark));
        }
        self.fib.untrack(mark);
        self.settle();
    }

    fn wait(&mut self, most: Duration) {
        let due = self.fib.poll_timeout();
        let wait = due.map_or(most, |due| {
            due.saturating_duration_since(Instant::now()).min(most)
        });
        let reports = &mut self.reports;
        let report = self
            .runtime
            .block_on(async { tokio::time::timeout(wait, reports.recv()).await });
        self.fib.handle_timeout(Instant::now());
        match report {
            Ok(Some(Report::Events(events))) => self.fib.handle_kernel(events),
            Ok(Some(Report::Applied(refusals))) => self.fib.handle_result(&refusals),
            Ok(None) => panic!("the netlink threads ended"),
            Err(_) => {}
        }
    }

    fn carry_out(&mut self) {
        while let Some(event) = self.fib.poll_event() {
            match event {
                // The channel has room for all that may be under way at once.
                FibEvent::WantsDump => self.requests.try_send(Request::Dump).unwrap(),
                FibEvent::Loaded { adopted } => self.adopted = Some(adopted),
                FibEvent::AddressesChanged => {}
                FibEvent::NextHopChanged(address, _) => self.changed_next_hops.push(address),
                FibEvent::Learned(_, LearnedFrom::Connected, _) => {}
                FibEvent::Learned(prefix, LearnedFrom::Kernel, route) => {
                    match route {
                        Some(route) => self.learned.insert(prefix, route),
                        None => self.learned.remove(&prefix),
                    };
                }
            }
        }
        while let Some(work) = self.fib.poll_work() {
            self.requests.try_send(work.into()).unwrap();
        }
    }

    /// Has the tables dumped once more, and waits for that.
    pub(crate) fn dump(&mut self) {
        let before = self.fib.counts().dumps;
        self.fib.handle_kernel([KernelEvent::Overrun]);
        self.until("a dump", |node| {
            node.fib.counts().dumps > before && node.fib.is_settled()
        });
    }

    /// State of one prefix.
    pub(crate) fn state(&self, prefix: &str) -> &'static str {
        let prefix: IpNet = prefix.parse().unwrap();
        let views = self.fib.query();
        let view = views.iter().find(|view| view.prefix == prefix);
        view.map_or("absent", |view| view.state)
    }
}

pub(crate) fn hop(next_hop: &str) -> Hop {
    Hop {
        next_hop: next_hop.parse().unwrap(),
        link_local: None,
        weight: 1,
        tunnel: Tunnel::None,
    }
}

pub(crate) fn via(next_hops: &[&str]) -> Option<FibTarget> {
    Some(FibTarget {
        action: FibAction::Via(next_hops.iter().map(|next_hop| hop(next_hop)).collect()),
        metric: 0,
    })
}

pub(crate) fn blackhole() -> Option<FibTarget> {
    Some(FibTarget {
        action: FibAction::Blackhole,
        metric: 0,
    })
}

/// Sees what everybody else sees with `ip monitor route`.
pub(crate) struct Observer(Socket);

/// RTM_NEWROUTE and RTM_DELROUTE with our protocol number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) new: usize,
    pub(crate) deleted: usize,
}

impl Observer {
    pub(crate) fn start() -> Observer {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        for group in [7, 11] {
            socket.add_membership(group).unwrap();
        }
        socket.set_non_blocking(true).unwrap();
        Observer(socket)
    }

    /// What happened to routes of ours since the last time.
    pub(crate) fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        let mut buffer = Vec::with_capacity(1 << 16);
        loop {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return seen,
                Err(error) => panic!("{error}"),
            }
            // nlmsghdr: type at 4; rtmsg after 16 octets: protocol at 5.
            let kind = u16::from_ne_bytes([buffer[4], buffer[5]]);
            if buffer[21] == OURS {
                seen.new += usize::from(kind == 24);
                seen.deleted += usize::from(kind == 25);
            }
        }
    }
}

/// `ip monitor route`: what others see happen.
pub(crate) struct Monitor(std::process::Child);

impl Monitor {
    /// Starts, and waits until it listens.
    pub(crate) fn start() -> Monitor {
        use std::io::{BufRead, BufReader};
        let mut child = std::process::Command::new("stdbuf")
            .args(["-oL", "ip", "monitor", "route"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mark = "203.0.113.255";
        let is_heard = |reader: &mut BufReader<_>| {
            let mut line = String::new();
            while !line.contains(mark) {
                line.clear();
                assert!(reader.read_line(&mut line).unwrap() > 0, "ip monitor ended");
            }
        };
        // Until it has joined the groups it hears nothing: the mark is made again and again.
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&stop);
        let marker = std::thread::spawn(move || {
            while !seen.load(std::sync::atomic::Ordering::Relaxed) {
                crate::namespace::ip(&format!("route replace {mark} dev eth0"));
                crate::namespace::ip(&format!("route del {mark} dev eth0"));
            }
        });
        is_heard(&mut reader);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        marker.join().unwrap();
        child.stdout = Some(reader.into_inner());
        Monitor(child)
    }

    /// Routes deleted so far, but for the mark.
    pub(crate) fn deleted(mut self) -> Vec<String> {
        use std::io::{BufRead, BufReader};
        // The end of what is to be seen.
        crate::namespace::ip("route add 203.0.113.254 dev eth0");
        crate::namespace::ip("route del 203.0.113.254 dev eth0");
        let mut deleted = Vec::new();
        for line in BufReader::new(self.0.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line.starts_with("Deleted 203.0.113.254") {
                break;
            }
            if line.starts_with("Deleted") && !line.contains("203.0.113.25") {
                deleted.push(line);
            }
        }
        deleted
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
