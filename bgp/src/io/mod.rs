//! Sockets and tasks: the only part of the crate that names tokio.

mod bfd;
mod linger;
mod listener;
pub mod message;
mod outbox;
mod peer_task;
mod read_buffer;
mod socket;
mod speaker;
mod tcp_md5;

pub use speaker::{Speaker, SpeakerHandle};
