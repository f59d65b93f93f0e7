//! Static routes to peers behind a gateway: the FIB's, and free again for others when they go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::rib::Rib;

impl Rib {
    /// Puts these routes, peer to gateway, in the place of those there were.
    pub fn set_host_routes(&mut self, now: Instant, routes: BTreeMap<IpAddr, IpAddr>) {
        if self.shared.fib.set_host_routes(routes) {
            // What BGP has for the prefix may be written now.
            self.ipv4.reevaluate(&mut self.shared);
            self.ipv6.reevaluate(&mut self.shared);
        }
        // Next hops may be reached in another way.
        self.handle_kernel(now, Vec::new());
    }
}
