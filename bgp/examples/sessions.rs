//! Many sessions with a short hold time on a busy machine: are all kept, and what does one cost?
//!
//! `cargo run --release -p pipit-bgp --example sessions -- [SESSIONS [SECONDS]]`, default 500 for 60 s. As many
//! threads as there are cores do nothing but burn them. The far ends run in a process of their own, so that the memory
//! shown is that of one end. Exits 1 when a session was lost or an idle one takes more than 30 KiB.

use std::collections::HashSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pipit_bgp::io::Speaker;
use pipit_bgp::io::message::{FrameSender, PeerBody, PeerMessage};
use pipit_bgp::session::Resumption;
use pipit_bgp::session::config::PeerConfig;
use pipit_bgp::{Asn, FamilyMap, PeerId};
use tokio::sync::mpsc;

const PORT: u16 = 1799;
const NEAR: Ipv4Addr = Ipv4Addr::new(127, 250, 0, 1);
const HOLD_TIME: Duration = Duration::from_secs(3);
/// All must stand within this time.
const PATIENCE: Duration = Duration::from_secs(60);
const KIB_MAX: u64 = 30;
const MESSAGES: usize = 1024;

fn far(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 251, 0, 0)) + index + 1)
}

fn config(own: Ipv4Addr, peer: Ipv4Addr) -> PeerConfig {
    PeerConfig {
        port: PORT,
        source: Some(own.into()),
        hold_time: HOLD_TIME,
        passive: own == NEAR,
        ..PeerConfig::new(
            peer.to_string(),
            IpAddr::V4(peer),
            Asn(64512),
            Asn(64512),
            u32::from(own).into(),
        )
    }
}

/// What the RIB would keep and count.
#[derive(Default)]
struct Heard {
    frames: Vec<FrameSender>,
    up: HashSet<PeerId>,
    lost: usize,
}

impl Heard {
    fn note(&mut self, message: PeerMessage) {
        match message.body {
            PeerBody::Up { frames, .. } => {
                self.frames.push(frames);
                self.up.insert(message.peer);
            }
            PeerBody::Down(_) => {
                self.up.remove(&message.peer);
                self.lost += 1;
            }
            PeerBody::Routes(_) | PeerBody::Drained => {}
        }
    }
}

/// The other process, which ends with this one.
struct FarEnds(Child);

impl Drop for FarEnds {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.context("no VmRSS")?.parse().context("VmRSS")
}

/// Every session's other end, each a speaker of its own, for all of them speak with one address.
async fn run_far_ends(sessions: u32) -> anyhow::Result<()> {
    let (routes, mut messages) = mpsc::channel(MESSAGES);
    let mut speakers = Vec::new();
    for index in 0..sessions {
        let speaker = Speaker::spawn(Resumption::None, routes.clone());
        speaker.add_peer(PeerId(index), config(far(index), NEAR)).await;
        speakers.push(speaker);
    }
    let mut heard = Heard::default();
    while let Some(message) = messages.recv().await {
        heard.note(message);
    }
    Ok(())
}

async fn run_near_end(sessions: u32, time: Duration) -> anyhow::Result<bool> {
    let (routes, mut messages) = mpsc::channel(MESSAGES);
    let speaker = Speaker::spawn(Resumption::None, routes);
    let listen = FamilyMap {
        ipv4: Some(SocketAddr::new(NEAR.into(), PORT)),
        ipv6: None,
    };
    speaker.set_listen(listen).await;
    let before = resident_kib()?;
    for index in 0..sessions {
        speaker.add_peer(PeerId(index), config(NEAR, far(index))).await;
    }
    let this = std::env::current_exe()?;
    let _far_ends = FarEnds(Command::new(this).args(["far", &sessions.to_string()]).spawn()?);
    let mut heard = Heard::default();
    let began = Instant::now();
    while heard.up.len() < sessions as usize {
        let left = PATIENCE.saturating_sub(began.elapsed());
        let message = tokio::time::timeout(left, messages.recv()).await;
        let message = message.with_context(|| format!("only {} sessions stand", heard.up.len()))?;
        heard.note(message.context("the speaker ended")?);
    }
    let all_up = began.elapsed();
    heard.lost = 0;

    let is_over = Arc::new(AtomicBool::new(false));
    let burners: Vec<_> = (0..std::thread::available_parallelism()?.get())
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let end = tokio::time::sleep(time);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            message = messages.recv() => heard.note(message.context("the speaker ended")?),
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for burner in burners {
        ensure!(burner.join().is_ok(), "a burner failed");
    }
    let each = (resident_kib()? - before) as f64 / f64::from(sessions);
    writeln!(
        std::io::stdout(),
        "{sessions} sessions, hold time {HOLD_TIME:?}, all up after {all_up:.1?}; {} lost in {time:?} on busy cores; \
         {each:.1} KiB each (limit {KIB_MAX})",
        heard.lost,
    )?;
    Ok(heard.lost == 0 && each <= KIB_MAX as f64)
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: u32| match arguments.get(at) {
        Some(text) => text.parse().with_context(|| format!("{text} is no number")),
        None => Ok(otherwise),
    };
    if arguments.first().is_some_and(|first| first == "far") {
        runtime.block_on(run_far_ends(number(1, 0)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let time = Duration::from_secs(number(1, 60)?.into());
    let is_good = runtime.block_on(run_near_end(number(0, 500)?, time))?;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
