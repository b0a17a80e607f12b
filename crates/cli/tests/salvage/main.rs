//! Salvage: what a damaged db still holds comes back, nothing comes back that was gone, and the account of what is
//! missing is true. Compared with the store as it was before the damage.

mod broken;
mod etcd;
mod log;
mod noise;
mod sample;
#[path = "../support/mod.rs"]
mod support;
mod truth;
