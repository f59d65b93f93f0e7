//! BIRD with one BGP session and BFD.

use std::net::IpAddr;

use pipit_testbed::kernel::temporary;
use pipit_testbed::netns::Netns;
use pipit_testbed::process::Process;

use crate::bench::{OURS, Scene, UP, Way};

pub(crate) struct Bird {
    _process: Process,
    folder: tempfile::TempDir,
}

impl Bird {
    pub(crate) fn start(netns: &Netns, scene: &Scene, own: IpAddr, peer: IpAddr) -> Bird {
        let folder = temporary();
        let path = folder.path();
        std::fs::write(path.join("bird.conf"), configuration(scene, own, peer)).unwrap();
        let mut command = netns.command("/usr/sbin/bird");
        command.arg("-f").arg("-c").arg(path.join("bird.conf"));
        command.arg("-s").arg(path.join("bird.ctl"));
        let process = Process::start("bird", command, &path.join("log"));
        let bird = Bird {
            _process: process,
            folder,
        };
        let answers = || bird.ctl(netns, &["show", "status"]).contains("Router ID");
        pipit_testbed::wait::until_eq("BIRD to answer", UP, answers, &true);
        bird
    }

    pub(crate) fn ctl(&self, netns: &Netns, words: &[&str]) -> String {
        let socket = self.folder.path().join("bird.ctl");
        let output = netns.command("birdc").arg("-s").arg(socket).args(words).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// The columns of `show bfd sessions`: address, interface, state, since, interval, timeout.
    pub(crate) fn bfd_session(&self, netns: &Netns) -> Vec<String> {
        let text = self.ctl(netns, &["show", "bfd", "sessions"]);
        let columns = text
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let is_session = |columns: &Vec<String>| {
            columns
                .first()
                .is_some_and(|first| first.parse::<IpAddr>().is_ok())
        };
        columns.into_iter().find(is_session).unwrap_or_default()
    }

    pub(crate) fn is_established(&self, netns: &Netns) -> bool {
        self.ctl(netns, &["show", "protocols", "pipit"])
            .contains("Established")
    }
}

fn configuration(scene: &Scene, own: IpAddr, peer: IpAddr) -> String {
    let family = if scene.is_ipv4 { "ipv4" } else { "ipv6" };
    let (bfd, protocol) = if scene.has_bfd {
        let timers = "interval 300 ms; idle tx interval 1 s; multiplier 3;";
        let protocol =
            format!("protocol bfd bfd1 {{ interface \"*\" {{ {timers} }}; multihop {{ {timers} }}; }}");
        ("bfd on;", protocol)
    } else {
        ("", String::new())
    };
    // What BIRD itself does where nothing is said: eBGP is direct, iBGP is multihop.
    let multihop = if scene.way == Way::Routed {
        "multihop 5;"
    } else {
        ""
    };
    format!(
        r#"router id 10.0.0.2;
log stderr all;
protocol device {{ }}
{protocol}
protocol bgp pipit {{
  local {own} as {asn}; neighbor {peer} as {OURS}; {multihop} {bfd}
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  graceful restart;
  {family} {{ import all; export all; }};
}}
"#,
        asn = scene.asn,
    )
}
