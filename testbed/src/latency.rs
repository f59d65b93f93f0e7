//! How long a block in etcd takes to become a kernel route on another node.
//!
//! Both ends are seen the same way, as a line that a program prints at the event: `etcdctl watch` when etcd has
//! committed, `ip monitor route` when the kernel has the route. What lies between is the daemons'.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::calico::affinity_key;
use crate::etcd::Etcd;
use crate::mesh::Mesh;
use crate::speaker::Source;
use crate::topology::{Plan, Rack};

/// For one block to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    Etcd,
    Kernel,
}

/// Kills its program when dropped.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Watcher {
    fn start(
        mut command: Command,
        from: From,
        lines: Sender<(From, Instant, String)>,
    ) -> std::io::Result<Watcher> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if lines.send((from, Instant::now(), line)).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Watcher(child))
    }
}

/// Assigns `puts` blocks (at most 200) to the second of `nodes` nodes, one after the other, and returns how long each
/// took to reach the last node's kernel, sorted.
///
/// # Errors
/// Those of the programs that watch.
///
/// # Panics
/// When the mesh does not come up, or a block does not arrive.
pub fn measure(nodes: usize, puts: usize) -> std::io::Result<Vec<Duration>> {
    let rack = Rack::new(Plan::default(), nodes);
    let etcd = Etcd::start(rack.node(1));
    let source = Source::Etcd(etcd.endpoint().to_owned());
    let mut mesh = Mesh::prepare(rack, etcd, source);
    mesh.start();
    let (sender, lines) = mpsc::channel();
    let mut watch = mesh.rack.node(1).netns.command("etcdctl");
    watch.args([
        "--endpoints",
        mesh.store.endpoint(),
        "watch",
        "--prefix",
        "/calico/ipam/",
    ]);
    let _etcd = Watcher::start(watch, From::Etcd, sender.clone())?;
    let mut monitor = mesh.rack.node(nodes).netns.command("ip");
    monitor.args(["monitor", "route"]);
    let _kernel = Watcher::start(monitor, From::Kernel, sender)?;
    let mut taken: Vec<Duration> = (0..puts.min(200))
        .map(|number| put(&mesh, &lines, number))
        .collect();
    taken.sort_unstable();
    Ok(taken)
}

fn put(mesh: &Mesh<Etcd>, lines: &Receiver<(From, Instant, String)>, number: usize) -> Duration {
    let net = format!("10.65.{}.{}/26", 200 + number / 4, number % 4 * 64);
    let block = match net.parse() {
        Ok(block) => block,
        Err(error) => panic!("{net}: {error}"),
    };
    let key = affinity_key("n2", block);
    mesh.store.put(&key, r#"{"state":"confirmed","deleted":false}"#);
    let mut seen: HashMap<&str, Instant> = HashMap::new();
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 2 {
        let Ok((from, at, line)) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        else {
            panic!("{net} did not arrive: {seen:?}");
        };
        match from {
            From::Etcd if line == key => drop(seen.insert("etcd", at)),
            From::Kernel if line.contains(&net) => drop(seen.insert("kernel", at)),
            _ => {}
        }
    }
    // The kernel may print first: both lines wait for a reader.
    seen["kernel"].saturating_duration_since(seen["etcd"])
}
