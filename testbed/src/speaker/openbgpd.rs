//! OpenBGPD's bgpd, which leaves the kernel's routes alone.

use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;

use super::{Options, Setup};
use crate::kernel::temporary;
use crate::netns::Netns;
use crate::process::Process;
use crate::wait;

/// Where its processes change their root to; systemd would make it.
const CHROOT: &str = "/run/openbgpd";

/// A namespace's bgpd.
#[derive(Debug)]
pub struct Openbgpd {
    process: Option<Process>,
    folder: tempfile::TempDir,
}

impl Openbgpd {
    /// Starts bgpd with one session.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start(netns: &Netns, setup: &Setup) -> Openbgpd {
        let folder = temporary();
        let config = folder.path().join("bgpd.conf");
        let socket = folder.path().join("ctl").display().to_string();
        let written = fs::create_dir_all(CHROOT)
            .and_then(|()| fs::write(&config, configuration(setup, &socket)))
            // It refuses a configuration that others may read.
            .and_then(|()| fs::set_permissions(&config, Permissions::from_mode(0o600)));
        assert!(written.is_ok(), "{CHROOT}, bgpd.conf: {written:?}");
        let mut openbgpd = Openbgpd {
            folder,
            process: None,
        };
        openbgpd.resume(netns);
        openbgpd
    }

    /// Starts it again after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not answer.
    pub fn resume(&mut self, netns: &Netns) {
        let mut command = netns.command("/usr/sbin/bgpd");
        command
            .arg("-d")
            .arg("-f")
            .arg(self.folder.path().join("bgpd.conf"));
        self.process = Some(Process::start(
            "OpenBGPD's bgpd",
            command,
            &self.folder.path().join("log"),
        ));
        let answers = || self.show(netns, &[])["neighbors"].is_array();
        wait::until_eq(
            "OpenBGPD's bgpd to answer",
            Duration::from_secs(10),
            answers,
            &true,
        );
    }

    /// Ends it as a crash would; its other processes end with their parent.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// `bgpctl -j show …`; null while it does not answer.
    pub fn show(&self, netns: &Netns, words: &[&str]) -> Value {
        let text = self.ctl(netns, &[&["-j", "show"], words].concat());
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Asks `bgpctl`.
    pub fn ctl(&self, netns: &Netns, words: &[&str]) -> String {
        let mut command = netns.command("bgpctl");
        command.arg("-s").arg(self.folder.path().join("ctl"));
        let output = command.args(words).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }
}

fn configuration(setup: &Setup, socket: &str) -> String {
    let Setup {
        own,
        peer,
        asn,
        peer_asn,
        router_id,
        announces,
        others,
        options,
    } = setup;
    let family = if setup.is_ipv4() { "IPv4" } else { "IPv6" };
    let networks = announces.iter().fold(String::new(), |mut text, prefix| {
        let _ = writeln!(text, "network {prefix}");
        text
    });
    let password = options.password.unwrap_or_default();
    let lines = [
        Options::line(
            options.password.is_some(),
            &format!("  tcp md5sig password {password}"),
        ),
        Options::line(options.ttl_security, "  ttl-security yes"),
        Options::line(
            options.add_path,
            "  announce add-path recv yes\n  announce add-path send all",
        ),
        Options::line(options.two_octet_as, "  announce as-4byte no"),
    ]
    .concat();
    let other_peers = others.iter().fold(String::new(), |mut text, (address, asn)| {
        let _ = writeln!(
            text,
            "neighbor {address} {{\n  remote-as {asn}\n  announce {family} unicast\n}}"
        );
        text
    });
    format!(
        r#"AS {asn}
router-id {router_id}
fib-update no
listen on {own}
socket "{socket}"
{networks}neighbor {peer} {{
  remote-as {peer_asn}
  local-address {own}
  announce {family} unicast
{lines}}}
{other_peers}allow from any
allow to any
"#
    )
}
