//! What the daemon is told at its start: flags first, then the environment of a calico-node pod, then defaults.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use pipit_datastore::model::parse_duration;

use pipit_bgp::FamilyMap;
use pipit_rib::RibLimits;
use pipit_rib::io::netlink;

use crate::control::protocol::DEFAULT_SOCKET;

/// The last good state is kept here unless told otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/pipit";

/// How long mass deletions in etcd are held back unless something else is asked for.
pub const GUARD_HOLD: Duration = Duration::from_secs(30);

/// The longest that may be asked for.
const GUARD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Manifests are read from here unless told otherwise.
pub const DEFAULT_DATASTORE_PATH: &str = "/etc/pipit/resources";

/// Where calico-node keeps the node name that it decided on.
pub const NODENAME_FILE: &str = "/var/lib/calico/nodename";

/// The arguments of `pipitd`.
#[derive(Clone, PartialEq, Eq, Debug, Default, clap::Parser)]
#[command(
    name = "pipitd",
    version,
    about = "Calico's BGP daemon: distributes the routes of this node's pods"
)]
#[command(
    after_help = "Environment: NODENAME, ETCD_ENDPOINTS, ETCD_CA_CERT_FILE, ETCD_CERT_FILE, ETCD_KEY_FILE,\n\
    ETCD_USERNAME and ETCD_PASSWORD as calico-node has them (CALICO_ may stand before the etcd ones and wins);\n\
    PIPIT_SOCKET, PIPIT_STATE_DIR, PIPIT_LOG, PIPIT_LOG_FORMAT (text or json). Flags win over the environment."
)]
pub struct Flags {
    /// Calico node to act for [default: $NODENAME, /var/lib/calico/nodename, the host name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where Calico's resources are [default: etcd when endpoints are given, else file]
    #[arg(long, value_enum, value_name = "KIND")]
    pub datastore: Option<DatastoreChoice>,
    /// How etcd is reached.
    #[command(flatten)]
    pub etcd: EtcdFlags,
    /// Folder of Calico manifests (YAML or JSON) [default: /etc/pipit/resources]
    #[arg(long, value_name = "DIR")]
    pub datastore_path: Option<PathBuf>,
    /// Folder of BGP passwords, DIR/SECRET/KEY [default: none]
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Folder for the last good state, by which the daemon goes when it starts while etcd is away; `none`: nothing is
    /// kept [default: $PIPIT_STATE_DIR, /var/lib/pipit]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Whether, or how long (`2m`), the deletion of most peers, blocks, nodes or pools in one revision is held back
    /// [default: on (30s) with etcd, off with files]
    #[arg(long, value_name = "on|off|DURATION")]
    pub mass_withdrawal_guard: Option<GuardChoice>,
    /// Routing table that routes are written to [default: 254, the main one]
    #[arg(long, value_name = "NUMBER", value_parser = route_table)]
    pub route_table: Option<u32>,
    /// Protocol number of routes that we write; wins over pipit.io/route-protocol [default: 12, bird]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(5..))]
    pub route_protocol: Option<u8>,
    /// Source address that packets of this host prefer on routes of ours, one a family [default: the kernel's choice]
    #[arg(long, value_name = "ADDRESS,ADDRESS", value_delimiter = ',', value_parser = route_source)]
    pub route_source: Vec<IpAddr>,
    /// Paths that the routing table may hold; above it the peer with the largest share is ended [default: 10000000]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_routes: Option<u32>,
    /// Megabytes of distinct route attributes that it may hold, likewise [default: 1024]
    #[arg(long, value_name = "MEGABYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attribute_memory: Option<u32>,
    /// Control socket [default: $PIPIT_SOCKET, /run/pipit/pipit.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// error, warn, info, debug, trace, or filters such as info,pipit_bgp=debug [default: $PIPIT_LOG, info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// How etcd is reached: the same for the daemon and for `pipit plan --from-etcd`.
#[derive(Clone, PartialEq, Eq, Debug, Default, clap::Args)]
pub struct EtcdFlags {
    /// etcd endpoints, http:// or https:// [default: $ETCD_ENDPOINTS]
    #[arg(long, value_name = "URL,URL", value_delimiter = ',')]
    pub etcd_endpoints: Vec<String>,
    /// CA certificates that sign the servers' (PEM) [default: $ETCD_CA_CERT_FILE]
    #[arg(long, value_name = "FILE")]
    pub etcd_ca_cert: Option<PathBuf>,
    /// Client certificate (PEM) [default: $ETCD_CERT_FILE]
    #[arg(long, value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,
    /// Key of the client certificate (PEM) [default: $ETCD_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,
    /// etcd user; the password comes from $ETCD_PASSWORD or --etcd-password-file [default: $ETCD_USERNAME]
    #[arg(long, value_name = "NAME")]
    pub etcd_username: Option<String>,
    /// File that holds the etcd user's password
    #[arg(long, value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,
}

/// The kinds of datastore.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum DatastoreChoice {
    /// Calico's keys in etcd v3
    Etcd,
    /// A folder of manifests
    File,
}

/// What `--mass-withdrawal-guard` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuardChoice {
    /// As long as it takes somebody to look.
    On,
    /// Not at all.
    Off,
    /// This long.
    For(Duration),
}

impl GuardChoice {
    /// How long deletions are held back.
    pub fn hold(self) -> Option<Duration> {
        match self {
            GuardChoice::On => Some(GUARD_HOLD),
            GuardChoice::Off => None,
            GuardChoice::For(hold) => Some(hold),
        }
    }
}

impl FromStr for GuardChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(GuardChoice::On),
            "off" => Ok(GuardChoice::Off),
            _ => parse_duration(text)
                .filter(|hold| (Duration::from_secs(1)..=GUARD_MAX).contains(hold))
                .map(GuardChoice::For)
                .ok_or_else(|| "on, off, or a duration from 1s to 24h was expected".to_owned()),
        }
    }
}

/// Everything outside the command line that decides about the configuration.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Content of [`NODENAME_FILE`]; `None` when there is none.
    pub nodename_file: Option<&'a str>,
    /// The host name.
    pub hostname: Option<&'a str>,
}

impl Surroundings<'_> {
    /// An environment variable; empty counts as unset.
    fn get(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.trim().is_empty())
    }

    /// One of Calico's connection variables: with the prefix `CALICO_` it wins.
    fn calico(&self, name: &str) -> Option<String> {
        self.get(&format!("CALICO_{name}")).or_else(|| self.get(name))
    }
}

/// What the daemon was told, complete and consistent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The Calico node to act for.
    pub node_name: String,
    /// Where its resources are.
    pub datastore: DatastoreConfig,
    /// Folder of BGP passwords; `None`: only Secrets of the datastore.
    pub secrets_dir: Option<PathBuf>,
    /// File of the last good state; `None`: it is not kept.
    pub snapshot: Option<PathBuf>,
    /// How long mass deletions are held back; `None`: not at all.
    pub guard_hold: Option<Duration>,
    /// Routing table that routes are written to.
    pub route_table: u32,
    /// Protocol number of our routes; `None`: 12 until the datastore says another one.
    pub route_protocol: Option<u8>,
    /// Preferred source of packets on routes of ours.
    pub route_source: FamilyMap<Option<IpAddr>>,
    /// How much the routing table may hold.
    pub limits: RibLimits,
    /// Control socket.
    pub socket: PathBuf,
    /// Log filter.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What was given and has no effect, to be logged.
    pub ignored: Vec<Ignored>,
}

/// Where Calico's resources are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatastoreConfig {
    /// etcd v3.
    Etcd(EtcdConfig),
    /// A folder of manifests.
    File {
        /// The folder.
        path: PathBuf,
    },
}

/// How etcd is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EtcdConfig {
    /// URLs, at least one.
    pub endpoints: Vec<String>,
    /// CA certificates; `None`: the system's.
    pub ca_cert: Option<PathBuf>,
    /// Client certificate and its key; `None`: none presented.
    pub client_cert: Option<ClientCert>,
    /// User and password; `None`: no login.
    pub login: Option<Login>,
}

/// A client certificate on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCert {
    /// Certificate (PEM).
    pub cert: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

/// A user of etcd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The user's name.
    pub username: String,
    /// Where the password is.
    pub password: PasswordSource,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// The environment; this is the password.
    Value(String),
    /// This file, to be read at each login; a final line end does not belong to the password.
    File(PathBuf),
}

impl std::fmt::Debug for PasswordSource {
    /// Never shows a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PasswordSource::Value(_) => f.write_str("Value(…)"),
            PasswordSource::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(ConfigError::LogFormat {
                given: text.to_owned(),
            }),
        }
    }
}

/// Something in the environment that has no effect, as it has none for calico-node.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ignored {
    /// A user without a password.
    #[error("ETCD_USERNAME is set without ETCD_PASSWORD: no login")]
    UsernameAlone,
    /// A password without a user.
    #[error("ETCD_PASSWORD is set without ETCD_USERNAME: no login")]
    PasswordAlone,
    /// A smallest TLS version that is not the one we have.
    #[error(
        "TLS_MIN_VERSION={given} is not honoured: etcd is spoken to in TLS 1.2 or 1.3, whatever it prefers"
    )]
    TlsMinVersion {
        /// The variable's value.
        given: String,
    },
    /// A choice of cipher suites.
    #[error("TLS_CIPHER_SUITES is not honoured: those that rustls thinks safe are used")]
    TlsCipherSuites,
}

/// A configuration that cannot be honoured.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing says which node this is.
    #[error(
        "which node is this? --node-name, NODENAME and {NODENAME_FILE} are empty, and the host has no name"
    )]
    NodeNameMissing,
    /// No node can have this name.
    #[error("node name {given:?} is empty or has a slash or white space in it")]
    NodeName {
        /// The name.
        given: String,
    },
    /// etcd, but where?
    #[error("datastore etcd needs --etcd-endpoints or ETCD_ENDPOINTS")]
    EndpointsMissing,
    /// Not a URL of etcd.
    #[error("etcd endpoint {given:?} is not http://HOST:PORT or https://HOST:PORT")]
    Endpoint {
        /// The endpoint.
        given: String,
    },
    /// A flag that belongs to the other datastore.
    #[error("{flag} has no effect with datastore {datastore}; leave out one of the two")]
    WrongDatastore {
        /// The flag.
        flag: &'static str,
        /// The datastore chosen.
        datastore: &'static str,
    },
    /// Half a client certificate.
    #[error(
        "an etcd client certificate needs both --etcd-cert and --etcd-key (ETCD_CERT_FILE, ETCD_KEY_FILE)"
    )]
    HalfClientCert,
    /// A user was named on the command line and nothing says the password.
    #[error("--etcd-username needs a password: ETCD_PASSWORD or --etcd-password-file")]
    PasswordMissing,
    /// A password file without a user.
    #[error("--etcd-password-file needs --etcd-username or ETCD_USERNAME")]
    UsernameMissing,
    /// A datastore that only calico-node has.
    #[error("DATASTORE_TYPE={given} is not supported; choose --datastore etcd or file")]
    DatastoreType {
        /// The variable's value.
        given: String,
    },
    /// etcd found by DNS.
    #[error("ETCD_DISCOVERY_SRV is not supported; unset it, and name the endpoints in ETCD_ENDPOINTS")]
    DiscoverySrv,
    /// No such log format.
    #[error("PIPIT_LOG_FORMAT={given:?} is neither text nor json")]
    LogFormat {
        /// The variable's value.
        given: String,
    },
}

/// An address that packets to other hosts may have as their source.
fn route_source(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "an IP address".to_owned())?;
    let is_unfit = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_unfit {
        return Err("an address of this host that others can answer to".to_owned());
    }
    Ok(address)
}

/// Every table but the one of the host's own addresses (RT_TABLE_LOCAL), which the kernel asks before all others.
fn route_table(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(table) if table != 0 && table != 255 => Ok(table),
        _ => Err("a number from 1, and not 255: that table is the kernel's own".to_owned()),
    }
}

fn limits(routes: Option<u32>, megabytes: Option<u32>) -> RibLimits {
    let RibLimits {
        paths,
        attribute_bytes,
    } = RibLimits::default();
    RibLimits {
        paths: routes.map_or(paths, |routes| routes as usize),
        attribute_bytes: megabytes.map_or(attribute_bytes, |megabytes| (megabytes as usize) << 20),
    }
}

impl Config {
    /// Decides what the daemon does from what it was told. Pure: what it needs of the machine is in `around`.
    pub fn resolve(flags: Flags, around: Surroundings<'_>) -> Result<Config, ConfigError> {
        let mut ignored = Vec::new();
        let node_name = node_name(flags.node_name, around)?;
        let datastore = match choose_datastore(flags.datastore, &flags.etcd, around)? {
            DatastoreChoice::Etcd => {
                refuse("--datastore-path", flags.datastore_path.is_some(), "etcd")?;
                DatastoreConfig::Etcd(EtcdConfig::resolve(flags.etcd, around, &mut ignored)?)
            }
            DatastoreChoice::File => {
                refuse_etcd_flags(&flags.etcd)?;
                let path = flags
                    .datastore_path
                    .unwrap_or_else(|| DEFAULT_DATASTORE_PATH.into());
                DatastoreConfig::File { path }
            }
        };
        let socket = flags
            .socket
            .or_else(|| around.get("PIPIT_SOCKET").map(PathBuf::from));
        let socket = socket.unwrap_or_else(|| DEFAULT_SOCKET.into());
        let (is_etcd, state_dir) = (matches!(datastore, DatastoreConfig::Etcd(_)), flags.state_dir);
        // Manifests are on disk already.
        refuse("--state-dir", state_dir.is_some() && !is_etcd, "file")?;
        let state_dir = state_dir.or_else(|| around.get("PIPIT_STATE_DIR").map(PathBuf::from));
        let state_dir = state_dir.unwrap_or_else(|| DEFAULT_STATE_DIR.into());
        let is_kept = is_etcd && state_dir.as_os_str() != "none";
        // A deletion in a file is somebody's edit.
        let guard = match is_etcd {
            true => GuardChoice::On,
            false => GuardChoice::Off,
        };
        let log_level = flags.log_level.or_else(|| around.get("PIPIT_LOG"));
        Ok(Config {
            snapshot: is_kept.then(|| state_dir.join(snapshot_name(&node_name, &socket))),
            guard_hold: flags.mass_withdrawal_guard.unwrap_or(guard).hold(),
            node_name,
            datastore,
            route_table: flags.route_table.unwrap_or(netlink::MAIN),
            route_protocol: flags.route_protocol,
            route_source: FamilyMap {
                ipv4: flags.route_source.iter().copied().find(IpAddr::is_ipv4),
                ipv6: flags.route_source.iter().copied().find(IpAddr::is_ipv6),
            },
            secrets_dir: flags.secrets_dir,
            limits: limits(flags.max_routes, flags.max_attribute_memory),
            socket,
            log_level: log_level.unwrap_or_else(|| "info".to_owned()),
            log_format: around
                .get("PIPIT_LOG_FORMAT")
                .map_or(Ok(LogFormat::Text), |text| text.parse())?,
            ignored,
        })
    }
}

impl EtcdConfig {
    /// Decides how etcd is reached, from flags and Calico's variables.
    pub fn resolve(
        flags: EtcdFlags,
        around: Surroundings<'_>,
        ignored: &mut Vec<Ignored>,
    ) -> Result<EtcdConfig, ConfigError> {
        let endpoints = endpoints(&flags, around);
        refuse_discovery(&flags, around)?;
        if endpoints.is_empty() {
            return Err(ConfigError::EndpointsMissing);
        }
        if let Some(given) = endpoints.iter().find(|url| !is_endpoint(url)) {
            return Err(ConfigError::Endpoint { given: given.clone() });
        }
        let path =
            |flag: Option<PathBuf>, variable| flag.or_else(|| around.calico(variable).map(PathBuf::from));
        let cert = path(flags.etcd_cert, "ETCD_CERT_FILE");
        let key = path(flags.etcd_key, "ETCD_KEY_FILE");
        let client_cert = match (cert, key) {
            (Some(cert), Some(key)) => Some(ClientCert { cert, key }),
            (None, None) => None,
            _ => return Err(ConfigError::HalfClientCert),
        };
        tls_settings(around, ignored);
        Ok(EtcdConfig {
            endpoints,
            ca_cert: path(flags.etcd_ca_cert, "ETCD_CA_CERT_FILE"),
            client_cert,
            login: login(flags.etcd_username, flags.etcd_password_file, around, ignored)?,
        })
    }
}

/// The Calico node meant, in calico-node's order (its startup writes the file); only host names are lower-cased.
pub fn node_name(flag: Option<String>, around: Surroundings<'_>) -> Result<String, ConfigError> {
    let trimmed = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let name = flag
        .or_else(|| around.get("NODENAME"))
        .or_else(|| around.nodename_file.and_then(trimmed))
        .or_else(|| {
            around
                .get("HOSTNAME")
                .and_then(|name| trimmed(&name.to_lowercase()))
        })
        .or_else(|| around.hostname.and_then(|name| trimmed(&name.to_lowercase())))
        .ok_or(ConfigError::NodeNameMissing)?;
    if name.is_empty() || name.contains(|c: char| c == '/' || c.is_whitespace()) {
        return Err(ConfigError::NodeName { given: name });
    }
    Ok(name)
}

/// The file of the last good state. Daemons that share a machine, as in a lab, have sockets of their own, and with
/// them states of their own.
fn snapshot_name(node_name: &str, socket: &Path) -> String {
    if socket == Path::new(DEFAULT_SOCKET) {
        return format!("{node_name}.snapshot");
    }
    let socket = socket.to_string_lossy().replace('/', "-");
    format!("{node_name}@{}.snapshot", socket.trim_start_matches('-'))
}

fn choose_datastore(
    flag: Option<DatastoreChoice>,
    etcd: &EtcdFlags,
    around: Surroundings<'_>,
) -> Result<DatastoreChoice, ConfigError> {
    if let Some(choice) = flag {
        return Ok(choice);
    }
    refuse_discovery(etcd, around)?;
    let has_endpoints = !endpoints(etcd, around).is_empty();
    match around.calico("DATASTORE_TYPE") {
        // Endpoints that are left in the environment do not make a cluster of another kind one of etcd's.
        Some(given) if given != "etcdv3" && etcd.etcd_endpoints.is_empty() => {
            Err(ConfigError::DatastoreType { given })
        }
        _ if has_endpoints => Ok(DatastoreChoice::Etcd),
        Some(_) => Err(ConfigError::EndpointsMissing),
        None => Ok(DatastoreChoice::File),
    }
}

/// A domain to look endpoints up in; Calico takes it for a contradiction beside endpoints, too.
fn refuse_discovery(etcd: &EtcdFlags, around: Surroundings<'_>) -> Result<(), ConfigError> {
    match around.calico("ETCD_DISCOVERY_SRV") {
        Some(_) if etcd.etcd_endpoints.is_empty() => Err(ConfigError::DiscoverySrv),
        _ => Ok(()),
    }
}

/// What Calico's variables say of TLS and is not ours to choose.
fn tls_settings(around: Surroundings<'_>, ignored: &mut Vec<Ignored>) {
    let min = around
        .calico("TLS_MIN_VERSION")
        .filter(|version| !version.ends_with("1.2"));
    ignored.extend(min.map(|given| Ignored::TlsMinVersion { given }));
    let suites = around.calico("TLS_CIPHER_SUITES");
    ignored.extend(suites.map(|_| Ignored::TlsCipherSuites));
}

fn endpoints(flags: &EtcdFlags, around: Surroundings<'_>) -> Vec<String> {
    let given = if flags.etcd_endpoints.is_empty() {
        around.calico("ETCD_ENDPOINTS").unwrap_or_default()
    } else {
        flags.etcd_endpoints.join(",")
    };
    given
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_endpoint(url: &str) -> bool {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace))
}

fn login(
    username_flag: Option<String>,
    password_file: Option<PathBuf>,
    around: Surroundings<'_>,
    ignored: &mut Vec<Ignored>,
) -> Result<Option<Login>, ConfigError> {
    let is_flag = username_flag.is_some();
    let is_file = password_file.is_some();
    let username = username_flag.or_else(|| around.calico("ETCD_USERNAME"));
    let password = password_file
        .map(PasswordSource::File)
        .or_else(|| around.calico("ETCD_PASSWORD").map(PasswordSource::Value));
    match (username, password) {
        (Some(username), Some(password)) => return Ok(Some(Login { username, password })),
        (None, None) => {}
        (Some(_), None) if is_flag => return Err(ConfigError::PasswordMissing),
        (None, Some(_)) if is_file => return Err(ConfigError::UsernameMissing),
        (Some(_), None) => ignored.push(Ignored::UsernameAlone),
        (None, Some(_)) => ignored.push(Ignored::PasswordAlone),
    }
    Ok(None)
}

/// Flags of etcd are a contradiction when files were chosen; its variables are not, a pod has them anyway.
fn refuse_etcd_flags(flags: &EtcdFlags) -> Result<(), ConfigError> {
    let EtcdFlags {
        etcd_endpoints,
        etcd_ca_cert,
        etcd_cert,
        etcd_key,
        etcd_username,
        etcd_password_file,
    } = flags;
    refuse("--etcd-endpoints", !etcd_endpoints.is_empty(), "file")?;
    refuse("--etcd-ca-cert", etcd_ca_cert.is_some(), "file")?;
    refuse("--etcd-cert", etcd_cert.is_some(), "file")?;
    refuse("--etcd-key", etcd_key.is_some(), "file")?;
    refuse("--etcd-username", etcd_username.is_some(), "file")?;
    refuse("--etcd-password-file", etcd_password_file.is_some(), "file")
}

fn refuse(flag: &'static str, is_given: bool, datastore: &'static str) -> Result<(), ConfigError> {
    if is_given {
        Err(ConfigError::WrongDatastore { flag, datastore })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
