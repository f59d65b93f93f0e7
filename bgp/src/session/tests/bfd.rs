//! RFC 5882, RFC 9384: what a lost path means for the session.

use super::*;
use crate::bfd::{Diagnostic, Loss};

fn lost(heard_up: Instant) -> Loss {
    Loss {
        diagnostic: Diagnostic::DetectionTimeExpired,
        heard_up,
    }
}

#[test]
fn rfc9384_3_a_lost_path_ends_the_session_and_its_routes_at_once() {
    for restart in [GracefulRestart::Off, GracefulRestart::default()] {
        let mut bench =
            Bench::mesh(|c| c.graceful_restart = restart, |c| c.graceful_restart = restart).start();
        let now = bench.now;
        bench.ends[0].session.handle_path_lost(now, lost(now));
        bench.settle();
        let [ours, theirs] = &bench.ends;
        assert_eq!(ours.downs.len(), 1);
        assert_eq!(ours.downs[0].retain, FamilySet::EMPTY);
        let reason = "sent: BFD down (6/10): control detection time expired";
        assert_eq!(ours.session.last_error(), Some(reason));
        // A peer that would keep our routes over a NOTIFICATION shall not.
        let heard = theirs.session.last_error().unwrap_or_default();
        let is_hard = restart != GracefulRestart::Off;
        assert!(
            heard.contains(if is_hard { "hard reset" } else { "BFD down" }),
            "{heard}"
        );
        assert_eq!(theirs.downs[0].retain, FamilySet::EMPTY);
    }
}

#[test]
fn rfc5882_4_3_a_session_that_bfd_has_not_vouched_for_yet_stays() {
    let mut bench = Bench::mesh(|_| (), |_| ()).start();
    let established_at = bench.now;
    let now = established_at + Duration::from_millis(900);
    // The path of a peer that restarted since: it came back before its old BFD session was missed.
    let before = established_at - Duration::from_millis(1);
    bench.ends[0].session.handle_path_lost(now, lost(before));
    assert_eq!(bench.ends[0].session.state(), State::Established);
    bench.ends[0].session.handle_path_lost(now, lost(established_at));
    assert_ne!(bench.ends[0].session.state(), State::Established);
}

#[test]
fn rfc5882_4_3_2_a_connection_in_the_making_is_left_alone() {
    let now = Instant::now();
    let mut session = Session::new(config(LOW, HIGH), Resumption::None, 1);
    session.start(now);
    let taken = session.handle_connected(now, Direction::Incoming, LOW.parse().unwrap());
    assert_eq!(taken, Connected::Taken);
    session.handle_path_lost(now, lost(now));
    assert_eq!(session.state(), State::OpenSent);
    assert_eq!(session.last_error(), None);
}
