//! A pipitd in a namespace of its own, and peers in another, each with its own address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use pipit_testbed::calico::{Manifests, Store, resource};
use pipit_testbed::kernel::temporary;
use pipit_testbed::netns::{Netns, next_number};
use pipit_testbed::speaker::{Pipit, Source};
use pipit_testbed::wait;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::message::{IPV4, IPV6};
use crate::peer::{Offer, PATIENCE, Peer};

/// pipit's AS, addresses, and identifier.
pub(crate) const OURS: u32 = 64_512;
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);
pub(crate) const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd97, 0, 0, 0, 0, 0, 0, 1);
/// The AS of the first external neighbour.
const FIRST_AS: u32 = 65_001;
const PORT: u16 = 179;

/// What a neighbour is to pipit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    External,
    Internal,
    /// Internal, and a client of the reflector that pipit is then.
    Client,
}

/// A neighbour that pipit has in its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    kind: Kind,
    is_ipv6: bool,
    asn: Option<u32>,
    annotations: Vec<(&'static str, String)>,
    spec: Vec<(&'static str, Value)>,
}

impl Neighbour {
    pub(crate) fn new(kind: Kind) -> Neighbour {
        let annotations = [
            ("passive", "true"),
            ("idle-hold", "1s"),
            ("connect-retry", "1s"),
            ("add-path", "off"),
            ("graceful-restart", "helper"),
        ];
        Neighbour {
            kind,
            is_ipv6: false,
            asn: None,
            annotations: annotations.map(|(name, value)| (name, value.to_owned())).to_vec(),
            spec: Vec::new(),
        }
    }

    pub(crate) fn external() -> Neighbour {
        Neighbour::new(Kind::External)
    }

    pub(crate) fn internal() -> Neighbour {
        Neighbour::new(Kind::Internal)
    }

    pub(crate) fn client() -> Neighbour {
        Neighbour::new(Kind::Client)
    }

    pub(crate) fn into_client(mut self) -> Neighbour {
        self.kind = Kind::Client;
        self
    }

    pub(crate) fn over_ipv6(mut self) -> Neighbour {
        self.is_ipv6 = true;
        self
    }

    pub(crate) fn in_as(mut self, asn: u32) -> Neighbour {
        self.asn = Some(asn);
        self
    }

    pub(crate) fn both_families(self) -> Neighbour {
        self.says("families", "ipv4,ipv6")
    }

    /// An annotation of extensions.md.
    pub(crate) fn says(mut self, name: &'static str, value: &str) -> Neighbour {
        self.annotations.retain(|(other, _)| *other != name);
        self.annotations.push((name, value.to_owned()));
        self
    }

    /// Without an annotation that [`Self::new`] sets.
    pub(crate) fn silent_on(mut self, name: &str) -> Neighbour {
        self.annotations.retain(|(other, _)| *other != name);
        self
    }

    /// A field of the BGPPeer.
    pub(crate) fn field(mut self, name: &'static str, value: Value) -> Neighbour {
        self.spec.push((name, value));
        self
    }
}

/// See the module.
pub(crate) struct Bench {
    // The daemon ends before its namespace goes.
    pub(crate) pipit: Pipit,
    pub(crate) store: Manifests,
    secrets: tempfile::TempDir,
    neighbours: Vec<Neighbour>,
    pub(crate) node: Netns,
    pub(crate) outside: Netns,
}

impl Bench {
    pub(crate) fn start(neighbours: Vec<Neighbour>) -> Bench {
        Bench::start_with(neighbours, json!({}), json!({}))
    }

    /// With annotations of the Node and the BGPConfiguration.
    pub(crate) fn start_with(neighbours: Vec<Neighbour>, node: Value, cluster: Value) -> Bench {
        let topology = next_number();
        let [inside, outside] = ["node", "peers"].map(|name| Netns::new(topology, name));
        wire(&inside, &outside, &neighbours);
        let store = Manifests::default();
        let secrets = temporary();
        let arguments = ["--secrets-dir", secrets.path().to_str().unwrap()];
        let mut bench = Bench {
            // Nothing is configured yet, so the first start is one with nothing to do.
            pipit: Pipit::start_as(&inside, "dut", &Source::File(store.path().to_owned()), &arguments),
            store,
            secrets,
            neighbours,
            node: inside,
            outside,
        };
        bench.configure(node, cluster);
        bench.wait_listening();
        bench
    }

    fn configure(&mut self, node: Value, cluster: Value) {
        let filter = ["importV4", "exportV4", "importV6", "exportV6"]
            .map(|field| (field.to_owned(), json!([{ "action": "Accept" }])));
        let filter = Value::Object(filter.into_iter().collect());
        self.store.apply(&resource("BGPFilter", "all", filter));
        for at in 0..self.neighbours.len() {
            self.apply_neighbour(at);
        }
        self.annotate_cluster(cluster);
        self.annotate_node(node);
    }

    /// Writes the BGPConfiguration with these annotations.
    pub(crate) fn annotate_cluster(&mut self, annotations: Value) {
        let spec = json!({ "nodeToNodeMeshEnabled": false, "asNumber": OURS });
        let mut config = resource("BGPConfiguration", "default", spec);
        config["metadata"]["annotations"] = annotations;
        self.store.apply(&config);
    }

    /// Writes the Node with these annotations.
    pub(crate) fn annotate_node(&mut self, annotations: Value) {
        let mut bgp = json!({
            "ipv4Address": format!("{NODE}/16"),
            "ipv6Address": format!("{NODE6}/64"),
            "asNumber": OURS,
        });
        if self.is_reflector() {
            bgp["routeReflectorClusterID"] = json!(NODE.to_string());
        }
        let mut node = resource("Node", "dut", json!({ "bgp": bgp }));
        node["metadata"]["annotations"] = annotations;
        self.store.apply(&node);
    }

    fn is_reflector(&self) -> bool {
        self.neighbours.iter().any(|n| n.kind == Kind::Client)
    }

    fn apply_neighbour(&mut self, at: usize) {
        let neighbour = &self.neighbours[at];
        let mut spec = json!({
            "peerIP": self.address(at).to_string(),
            "asNumber": self.asn(at),
            "filters": ["all"],
            "sourceAddress": "UseNodeIP",
        });
        for (field, value) in &neighbour.spec {
            spec[*field] = value.clone();
        }
        let mut object = resource("BGPPeer", &format!("p{at}"), spec);
        let annotations = &mut object["metadata"]["annotations"];
        for (name, value) in &neighbour.annotations {
            annotations[format!("pipit.io/{name}")] = json!(value);
        }
        if self.is_reflector() {
            let is_client = neighbour.kind == Kind::Client;
            annotations["pipit.io/route-reflector-client"] = json!(is_client.to_string());
        }
        self.store.apply(&object);
    }

    /// Changes a neighbour in the running daemon.
    pub(crate) fn change(&mut self, at: usize, change: impl FnOnce(Neighbour) -> Neighbour) {
        self.neighbours[at] = change(self.neighbours[at].clone());
        self.apply_neighbour(at);
    }

    /// Puts a Secret's key where pipit looks for it.
    pub(crate) fn write_secret(&self, name: &str, key: &str, value: &str) {
        let folder = self.secrets.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(key), value).unwrap();
    }

    /// Waits until every neighbour is configured and connections are taken.
    pub(crate) fn wait_listening(&self) {
        let expected = self.neighbours.len();
        wait::until_eq(
            "the neighbours",
            PATIENCE,
            || self.pipit.sessions().len(),
            &expected,
        );
        let take = || self.outside.inside(|| TcpStream::connect((NODE, PORT)).is_ok());
        wait::until_eq("the port", PATIENCE, take, &true);
    }

    pub(crate) fn address(&self, at: usize) -> IpAddr {
        address(at, self.neighbours[at].is_ipv6)
    }

    pub(crate) fn asn(&self, at: usize) -> u32 {
        let neighbour = &self.neighbours[at];
        let default = match neighbour.kind {
            Kind::External => FIRST_AS + at as u32,
            Kind::Internal | Kind::Client => OURS,
        };
        neighbour.asn.unwrap_or(default)
    }

    /// The OPEN of a neighbour that knows what everybody knows, in all families that pipit may have with it.
    pub(crate) fn offer(&self, at: usize) -> Offer {
        Offer::new(self.asn(at), &[IPV4, IPV6])
    }

    /// A connection from an address, once the kernel makes one.
    pub(crate) fn connect(
        &self,
        from: IpAddr,
        configure: impl Fn(&Socket) + Sync,
    ) -> std::io::Result<TcpStream> {
        let to: IpAddr = if from.is_ipv4() { NODE.into() } else { NODE6.into() };
        self.outside.inside(|| {
            let domain = Domain::for_address(SocketAddr::new(to, PORT));
            let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
            configure(&socket);
            socket.connect_timeout(&SocketAddr::new(to, PORT).into(), PATIENCE)?;
            Ok(socket.into())
        })
    }

    /// A neighbour's connection, and nothing said.
    pub(crate) fn dial(&self, at: usize) -> Peer {
        let stream = self.connect(self.address(at), |_| ()).unwrap();
        self.peer(at, stream)
    }

    /// A neighbour on a connection.
    pub(crate) fn peer(&self, at: usize, stream: TcpStream) -> Peer {
        let is_internal = self.asn(at) == OURS;
        Peer::new(stream, self.address(at), self.asn(at), is_internal)
    }

    /// A neighbour with an Established session.
    #[track_caller]
    pub(crate) fn up(&self, at: usize) -> Peer {
        self.up_with(at, &self.offer(at))
    }

    /// The same with this OPEN. pipit may still wait after an error, so it is tried again.
    #[track_caller]
    pub(crate) fn up_with(&self, at: usize, offer: &Offer) -> Peer {
        let start = Instant::now();
        loop {
            let dialled = self.connect(self.address(at), |_| ());
            let mut peer = dialled.map(|stream| self.peer(at, stream));
            if peer.as_mut().is_ok_and(|peer| peer.establish(offer)) {
                return peer.unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "no session of p{at}: {peer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Open files of the daemon.
    pub(crate) fn files(&mut self) -> usize {
        let pid = self.pipit.process().pid();
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    /// Resident memory of the daemon in KiB.
    pub(crate) fn memory(&mut self) -> usize {
        let pid = self.pipit.process().pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Where pipit's own connections to a neighbour arrive.
    pub(crate) fn listen(&self, at: usize) -> TcpListener {
        let address = self.address(at);
        self.outside
            .inside(|| TcpListener::bind((address, PORT)).unwrap())
    }
}

/// The address of a neighbour.
pub(crate) fn address(at: usize, is_ipv6: bool) -> IpAddr {
    match is_ipv6 {
        true => Ipv6Addr::new(0xfd97, 0, 0, 0, 0, 0, 0, 0x10 + at as u16).into(),
        false => Ipv4Addr::new(10, 97, 1, 10 + at as u8).into(),
    }
}

/// One link, and on its far end the addresses of all neighbours and one stranger's, 10.97.2.2.
fn wire(node: &Netns, outside: &Netns, neighbours: &[Neighbour]) {
    let peer = ["peer", "name", "eth0", "netns", outside.name()];
    node.ip(&[&["link", "add", "eth0", "type", "veth"], &peer[..]].concat());
    let own = [format!("{NODE}/16"), format!("{NODE6}/64")];
    let theirs = (0..neighbours.len()).map(|at| {
        let is_ipv6 = neighbours[at].is_ipv6;
        format!("{}/{}", address(at, is_ipv6), if is_ipv6 { 64 } else { 16 })
    });
    let theirs = theirs.chain(["10.97.2.2/16".into(), "fd97::2/64".into()]);
    for (netns, addresses) in [(node, own.to_vec()), (outside, theirs.collect())] {
        netns.sysctl("net.ipv6.conf.eth0.accept_dad", "0");
        netns.ip(&["link", "set", "eth0", "up"]);
        for address in addresses {
            netns.ip(&["addr", "add", &address, "dev", "eth0"]);
        }
    }
}
