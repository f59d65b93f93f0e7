//! A TCP relay that can be cut or fall silent: what lies between a node and etcd when the network is at fault.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the relay does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Carries everything.
    Pass,
    /// Ends every connection, also new ones.
    Cut,
    /// Keeps connections and carries nothing from the server: requests arrive, answers do not.
    Silent,
    /// Carries all of the server's HTTP/2 frames but data: pings are answered, watches say nothing any more.
    Stalled,
    /// Carries the server's answers an octet at a time.
    Trickle,
    /// Carries what the server sends late by this much.
    Slow(Duration),
}

pub(crate) struct Relay {
    port: u16,
    mode: watch::Sender<Mode>,
}

impl Relay {
    /// Relays to a local port.
    pub(crate) async fn to(port: u16) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let relay = Relay {
            port: listener.local_addr().unwrap().port(),
            mode: watch::Sender::new(Mode::Pass),
        };
        let mode = relay.mode.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port, mode.clone()));
            }
        });
        relay
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(near: TcpStream, port: u16, mut mode: watch::Receiver<Mode>) {
    let mut cut = mode.clone();
    let both = async {
        let far = TcpStream::connect(("127.0.0.1", port)).await?;
        near.set_nodelay(true)?;
        let (mut near_read, mut near_write) = near.into_split();
        let (mut far_read, mut far_write) = far.into_split();
        let there = async { tokio::io::copy(&mut near_read, &mut far_write).await };
        let back = async {
            let mut buffer = vec![0; 1 << 16];
            let mut frames = Frames::default();
            loop {
                let len = far_read.read(&mut buffer).await?;
                if len == 0 {
                    return std::io::Result::Ok(0);
                }
                mode.wait_for(|mode| *mode != Mode::Silent)
                    .await
                    .map_err(std::io::Error::other)?;
                let mode = *mode.borrow_and_update();
                for (frame, is_data) in frames.take(&buffer[..len]) {
                    match mode {
                        Mode::Stalled if is_data => {}
                        Mode::Trickle => {
                            for octet in frame.chunks(1) {
                                near_write.write_all(octet).await?;
                                tokio::task::yield_now().await;
                            }
                        }
                        Mode::Slow(delay) if is_data => {
                            tokio::time::sleep(delay).await;
                            near_write.write_all(&frame).await?;
                        }
                        _ => near_write.write_all(&frame).await?,
                    }
                }
            }
        };
        tokio::try_join!(there, back)
    };
    tokio::select! {
        // An end of either side ends both, as a broken connection does.
        _ = both => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Cuts what a server sends into HTTP/2 frames (RFC 9113 §4.1).
#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    /// The frames that are complete now, and whether each is DATA.
    fn take(&mut self, octets: &[u8]) -> Vec<(Vec<u8>, bool)> {
        self.0.extend_from_slice(octets);
        let mut frames = Vec::new();
        while let [a, b, c, kind, ..] = self.0[..] {
            let len = 9 + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
            if self.0.len() < len {
                break;
            }
            frames.push((self.0.drain(..len).collect(), kind == 0));
        }
        frames
    }
}
