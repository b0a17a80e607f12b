//! `make demo` runs to its end: a cluster of three members with TLS is lost and restored.

use std::path::Path;

use lab::peers::{self, EtcdVersion};

#[test]
fn the_demo_brings_its_cluster_back() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    lab::demo::run(Path::new(env!("CARGO_BIN_EXE_lifeboat"))).unwrap();
}
