//! The RIB as its neighbours see it: sessions bring UPDATEs in, frames are decoded as the other end would.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod learned;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod live;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod multipath;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod next_hops;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod roles;
