//! Real peers for Lifeboat's tests, demo and benchmarks: etcd and bbolt built from source into a cache, etcd clusters
//! on loopback with repeatable workloads, and Kubernetes on machines.
//!
//! A test that needs a peer requests it with [`or_skip!`], then starts a [`cluster::Cluster`]:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lab::cluster::ClusterBuilder;
//! use lab::peers::{self, EtcdVersion};
//!
//! fn survives_a_crash() {
//!     lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
//!     let mut cluster = ClusterBuilder::new(EtcdVersion::V3_6).members(3).start().unwrap();
//!     cluster.kill(0).unwrap();
//!     cluster.restart(0).unwrap();
//!     cluster.wait_healthy(Duration::from_secs(30)).unwrap();
//! }
//! ```

mod authority;
pub mod bench;
mod cache;
pub mod cloud;
pub mod cluster;
mod copy;
pub mod demo;
pub mod fill;
pub mod fixture;
pub mod hypervisor;
pub mod incident;
mod kubernetes;
pub mod machines;
pub mod peers;
mod process;
pub mod sshd;

pub use copy::copy_dir;
