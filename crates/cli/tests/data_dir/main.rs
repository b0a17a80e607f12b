//! A member's data dir as a source: reading it gives what a real etcd serves from a copy.

mod agent;
mod bases;
mod compare;
mod crafted;
mod damage;
mod differential;
mod field;
mod flips;
mod kills;
mod majority;
mod peer;
mod raft;
mod recreated;
mod requests;
mod rpc;
#[path = "../support/mod.rs"]
mod support;
mod torture;
mod verbs;
