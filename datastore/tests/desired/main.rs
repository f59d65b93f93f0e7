//! Resources in, desired state out. Names of tests begin with the line of Calico's behaviour they pin (`c043`: C43).
//!
//! `cfg(test)` tells clippy that helpers in these modules are tests too.

#[cfg(test)]
mod classes;
#[cfg(test)]
mod differences;
#[cfg(test)]
mod extensions;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod live;
#[cfg(test)]
mod mesh;
#[cfg(test)]
mod node_settings;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod random;
#[cfg(test)]
mod reverse_peering;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod services;
#[cfg(test)]
mod session_settings;
#[cfg(test)]
mod support;
