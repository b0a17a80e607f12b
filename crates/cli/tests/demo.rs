//! `make demo` runs to its end: a cluster of three members with TLS is lost and recovered.

use std::path::Path;

use lab::peers::{self, EtcdVersion};

#[test]
fn the_demo_recovers_its_cluster() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    lab::demo::run(Path::new(env!("CARGO_BIN_EXE_lifeboat"))).unwrap();
}
