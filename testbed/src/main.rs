//! `pipit-testbed demo`: three nodes in namespaces, on the file datastore.

use std::process::ExitCode;

use clap::Parser;
use pipit_testbed::mesh::Mesh;
use pipit_testbed::speaker::program;
use pipit_testbed::topology::Plan;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "pipit-testbed",
    version,
    about = "Small networks for pipit in network namespaces"
)]
enum Arguments {
    /// Three nodes with a pod each: sessions, kernel routes, pings; then stays up to be tried out
    Demo {
        /// End after the checks instead of staying up
        #[arg(long)]
        once: bool,
    },
    /// How long a block in etcd takes to become a kernel route on another node
    Latency {
        /// Nodes of the mesh
        #[arg(long, default_value_t = 10)]
        nodes: usize,
        /// Blocks, one after the other; at most 200
        #[arg(long, default_value_t = 200)]
        puts: usize,
    },
}

fn main() -> ExitCode {
    let once = match Arguments::parse() {
        Arguments::Demo { once } => once,
        Arguments::Latency { nodes, puts } => return latency(nodes, puts),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pipit-testbed: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(demo(once))
}

#[expect(
    clippy::print_stdout,
    reason = "this program talks to the person who started it"
)]
fn latency(nodes: usize, puts: usize) -> ExitCode {
    match pipit_testbed::latency::measure(nodes, puts) {
        Ok(taken) if !taken.is_empty() => {
            let at = |percent: usize| taken[(taken.len() - 1) * percent / 100].as_secs_f64() * 1e3;
            println!(
                "{} blocks, {nodes} nodes: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
                taken.len(),
                at(50),
                at(99),
                at(100)
            );
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("pipit-testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "this program talks to the person who started it"
)]
async fn demo(once: bool) -> ExitCode {
    // Taken before anything is made: from now on a signal ends the demo by its clean way out.
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return ExitCode::FAILURE;
    };
    println!(
        "Three nodes on one bridge, a pod behind each; pipitd on every node reads one folder of manifests.\n"
    );
    let built = tokio::task::spawn_blocking(|| {
        let mesh = Mesh::from_files(Plan::default(), 3);
        show(&mesh);
        mesh.ping_all();
        mesh
    });
    let Ok(mesh) = built.await else {
        eprintln!("pipit-testbed: the mesh did not come up (see above)");
        return ExitCode::FAILURE;
    };
    println!("pings: every pod reaches every pod of the other nodes");
    if once {
        return ExitCode::SUCCESS;
    }
    invite(&mesh);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("\ntaking everything down");
    drop(mesh);
    ExitCode::SUCCESS
}

#[expect(
    clippy::print_stdout,
    reason = "this program talks to the person who started it"
)]
fn show<S>(mesh: &Mesh<S>) {
    for (node, daemon) in mesh.rack.nodes.iter().zip(&mesh.daemons) {
        println!("--- {} ---", node.name);
        println!(
            "$ pipit peers\n{}",
            String::from_utf8_lossy(&daemon.pipit(&["peers"]).stdout)
        );
        println!(
            "$ ip route show proto bird\n{}",
            node.netns.ip(&["route", "show", "proto", "bird"])
        );
    }
}

#[expect(
    clippy::print_stdout,
    reason = "this program talks to the person who started it"
)]
fn invite(mesh: &Mesh<pipit_testbed::calico::Manifests>) {
    let pipit = program("pipit");
    println!("\nIt stays up until Ctrl-C. In another terminal:\n");
    for (node, daemon) in mesh.rack.nodes.iter().zip(&mesh.daemons) {
        println!(
            "  # {}\n  {} --socket {} peers",
            node.name,
            pipit.display(),
            daemon.socket().display()
        );
    }
    let first = &mesh.rack.nodes[0];
    println!(
        "\n  {} --socket {} routes",
        pipit.display(),
        mesh.daemons[0].socket().display()
    );
    println!("  ip netns exec {} ip monitor route", first.netns.name());
    println!(
        "\nThe manifests are in {}: edit one, and watch the routes move.",
        mesh.store.path().display()
    );
}
