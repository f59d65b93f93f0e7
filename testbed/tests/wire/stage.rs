//! Two peers that send, one in another AS and one inside, and two that watch what pipit makes of it.

use crate::bench::{Bench, Neighbour};
use crate::message::{Attributes, Route, nlri, update};
use crate::peer::Peer;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    External,
    Internal,
}

/// See the module.
pub(crate) struct Stage {
    pub(crate) bench: Bench,
    pub(crate) external: Peer,
    pub(crate) internal: Peer,
    /// In an AS of its own: sees everything.
    pub(crate) outer: Peer,
    /// A client, as the internal sender is: sees everything.
    pub(crate) inner: Peer,
    marks: u32,
}

/// The first neighbour after those of the stage.
pub(crate) const FIRST_FREE: usize = 4;
/// What the senders announce first, and never speak of again.
const CONTROLS: [&str; 2] = ["61.0.0.0/16", "61.1.0.0/16"];

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::with(Vec::new())
    }

    /// With further neighbours, from number [`FIRST_FREE`].
    pub(crate) fn with(more: Vec<Neighbour>) -> Stage {
        let own = [
            Neighbour::external(),
            Neighbour::client(),
            Neighbour::external(),
            Neighbour::client(),
        ];
        let own = own.map(Neighbour::both_families);
        let bench = Bench::start(own.into_iter().chain(more).collect());
        let [external, internal, outer, inner] = [0, 1, 2, 3].map(|at| bench.up(at));
        let mut stage = Stage {
            bench,
            external,
            internal,
            outer,
            inner,
            marks: 0,
        };
        stage.external.announce(1, &CONTROLS[..1]);
        stage.internal.announce(1, &CONTROLS[1..]);
        stage.everybody("the first routes", |peer| {
            CONTROLS.iter().all(|prefix| peer.has(prefix))
        });
        stage
    }

    pub(crate) fn sender(&mut self, from: From) -> &mut Peer {
        match from {
            From::External => &mut self.external,
            From::Internal => &mut self.internal,
        }
    }

    /// Waits until both watchers agree.
    #[track_caller]
    pub(crate) fn everybody(&mut self, what: &str, is_right: impl Fn(&Peer) -> bool) {
        self.outer
            .wait(&format!("{what}, at the external watcher"), &is_right);
        self.inner
            .wait(&format!("{what}, at the internal watcher"), &is_right);
    }

    /// Waits until all that was sent before has been acted upon: two rounds, since what travels in one frame with the
    /// first may stand behind it.
    #[track_caller]
    pub(crate) fn settle(&mut self, from: From, what: &str) {
        for _ in 0..2 {
            self.marks += 1;
            let mark = format!("198.18.{}.{}/32", self.marks >> 8, self.marks & 255);
            self.sender(from).announce(1, &[&mark]);
            self.everybody(&format!("a good route after {what}"), |peer| peer.has(&mark));
        }
    }

    /// The sender's good route with mark 1 is everywhere.
    #[track_caller]
    pub(crate) fn begin(&mut self, from: From, prefix: &str, what: &str) {
        self.sender(from).announce(1, &[prefix]);
        self.everybody(&format!("the good route before {what}"), |peer| {
            mark_of(peer, prefix) == Some(1)
        });
    }

    /// Sends the prefix with these attributes.
    pub(crate) fn send(&mut self, from: From, attributes: &Attributes, prefix: &str) {
        let bytes = update(&[], &attributes.encode(), &nlri(&[prefix]));
        self.sender(from).send(&bytes);
    }

    /// Nobody has the prefix any more.
    #[track_caller]
    pub(crate) fn withdrawn(&mut self, prefix: &str, what: &str) {
        self.everybody(&format!("no route after {what}"), |peer| !peer.has(prefix));
    }

    /// Both watchers have the route with mark 2; how they have it.
    #[track_caller]
    pub(crate) fn handed_on(&mut self, prefix: &str, what: &str) -> [Route; 2] {
        self.everybody(&format!("the new route after {what}"), |peer| {
            mark_of(peer, prefix) == Some(2)
        });
        [&self.outer, &self.inner].map(|peer| peer.route(prefix).unwrap().clone())
    }

    /// Every session stands, and what nobody touched has not moved.
    #[track_caller]
    pub(crate) fn unharmed(&mut self) {
        for from in [From::External, From::Internal] {
            self.settle(from, "all of this");
            assert_eq!(self.sender(from).ending, None);
        }
        for prefix in CONTROLS {
            let told = [&self.outer, &self.inner].map(|peer| peer.told(prefix));
            assert_eq!(told, [(1, 0); 2], "{prefix}");
        }
    }
}

/// The last AS of a route's path.
pub(crate) fn mark_of(peer: &Peer, prefix: &str) -> Option<u32> {
    peer.route(prefix)?.asns().last().copied()
}
