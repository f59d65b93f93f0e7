//! A fresh network namespace for one test: the test binary starts itself in it, and it ends with that process.

use std::process::Command;

const MARK: &str = "PIPIT_FIB_NAMESPACE";

/// Runs `body` in a namespace of its own. `name`: the test's full name, by which the binary is asked for it again.
pub(crate) fn run(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        ip("link set lo up");
        return body();
    }
    again(name, &["unshare", "--net"]);
}

/// Runs `body` in a namespace of its own where the process lacks CAP_NET_ADMIN.
pub(crate) fn run_without_permission(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let drop_it = ["--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    again(name, &["unshare", "--net", "setpriv", drop_it[0], drop_it[1]]);
}

fn again(name: &str, wrapper: &[&str]) {
    let binary = std::env::current_exe().unwrap();
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(binary)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .expect("unshare (util-linux) starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "no test is named {name}: {text}");
    eprintln!("{text}");
}

/// Runs `ip` with these words; its output.
#[track_caller]
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs many `ip` commands in one process.
pub(crate) fn ip_batch(lines: &str) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Routes of ours as `ip` prints them, IPv4 and IPv6, in its order.
pub(crate) fn ours() -> Vec<String> {
    of_protocol("bird")
}

/// The same for any protocol.
pub(crate) fn of_protocol(protocol: &str) -> Vec<String> {
    let ipv4 = ip(&format!("-4 route show table main proto {protocol}"));
    let ipv6 = ip(&format!("-6 route show table main proto {protocol}"));
    ipv4.lines()
        .chain(ipv6.lines())
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// Two interfaces: eth0 with 192.0.2.1/24 and fd31:1::1/64, eth1 with 198.51.100.1/24. Their other ends are in the same
/// namespace, without addresses.
pub(crate) fn two_links() {
    ip("link add eth0 type veth peer name peer0");
    ip("link add eth1 type veth peer name peer1");
    for device in ["peer0", "peer1", "eth0", "eth1"] {
        ip(&format!("link set {device} up"));
    }
    ip("address add 192.0.2.1/24 dev eth0");
    ip("address add fd31:1::1/64 dev eth0 nodad");
    ip("address add 198.51.100.1/24 dev eth1");
}
