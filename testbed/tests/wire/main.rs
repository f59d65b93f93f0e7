//! pipitd on the wire: scripted peers that send what no good speaker would, and others that see what pipit makes of
//! it. All over real TCP, from the file datastore to the peers' tables; only the peers are not real.

mod attributes;
mod bench;
mod extensions;
mod helper;
mod logging;
mod message;
mod multiprotocol;
mod mutations;
mod peer;
mod resets;
mod restarter;
mod security;
mod stage;
mod takeover;
mod two_octets;
