//! A TCP relay that can be cut or fall silent: what lies between a node and etcd when the network is at fault.

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
        let (mut near_read, mut near_write) = near.into_split();
        let (mut far_read, mut far_write) = far.into_split();
        let there = async { tokio::io::copy(&mut near_read, &mut far_write).await };
        let back = async {
            let mut buffer = vec![0; 1 << 16];
            loop {
                let len = far_read.read(&mut buffer).await?;
                if len == 0 {
                    return std::io::Result::Ok(0);
                }
                mode.wait_for(|mode| *mode != Mode::Silent)
                    .await
                    .map_err(std::io::Error::other)?;
                near_write.write_all(&buffer[..len]).await?;
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
