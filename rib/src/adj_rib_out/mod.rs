//! What peers have been told, kept once for all peers that are told the same.
//!
//! Peers with equal [`EgressKey`]s form an update group. Policy runs once a group ([`UpdateGroup::set`]), the result
//! goes into the group's [`Journal`], and encoded UPDATEs are cut from the journal as [`chunk`]s that all members
//! share. Each member is a position in the journal and a credit of frames: one that does not read stands still and
//! goes on later with the newest state. What a member that came from another group lacks is owed to it apart.
//!
//! **Invariant:** an item's entry in force says what every member whose position is past it has been told.

mod announcements;
mod chunk;
mod egress;
mod group;
mod journal;

pub(crate) use chunk::ChunkSource;
pub(crate) use egress::EgressKey;
pub(crate) use group::{FrameSink, GroupId, Outgoing, Paths, UpdateGroup};
