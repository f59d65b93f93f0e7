//! From one list of sessions to another, by name.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::desired::Session;

/// What becomes of one session.
#[derive(Clone, Copy, Debug)]
pub enum SessionStep<'s> {
    /// It was not even computed anew.
    Same(&'s Arc<Session>),
    /// It was computed anew: from, to. The two may be equal.
    Changed(&'s Arc<Session>, &'s Arc<Session>),
    /// There is no session of this name any more.
    Removed(&'s Arc<Session>),
    /// There was no session of this name.
    Added(&'s Arc<Session>),
}

/// The steps between two lists in the order of names. Of what was not computed anew only pointers are looked at: in a
/// large mesh that is nearly all, at every event.
pub fn session_steps<'s>(
    old: &'s [Arc<Session>],
    new: &'s [Arc<Session>],
) -> impl Iterator<Item = SessionStep<'s>> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) if Arc::ptr_eq(before, after) => {
                old.next();
                return new.next().map(SessionStep::Same);
            }
            (Some(before), Some(after)) => before.name.cmp(&after.name),
        };
        match order {
            Ordering::Less => old.next().map(SessionStep::Removed),
            Ordering::Greater => new.next().map(SessionStep::Added),
            Ordering::Equal => {
                let both = old.next().zip(new.next());
                both.map(|(before, after)| SessionStep::Changed(before, after))
            }
        }
    })
}
