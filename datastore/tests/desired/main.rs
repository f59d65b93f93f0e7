//! Resources in, desired state out. Names of tests begin with the line of Calico's behaviour they pin (`c043`: C43).

mod golden;
mod support;
