//! What happens to `lifeboat save` between its first byte and its last.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use lab::cluster::{Cluster, ClusterBuilder};
use lab::peers::{self, EtcdVersion};
use support::{entries, fails, lifeboat};

/// When to interfere: well inside the snapshot.
const MEDDLE_AT: usize = 300_000;

/// A member whose snapshot is about a megabyte.
fn member() -> Cluster {
    let cluster = ClusterBuilder::new(EtcdVersion::V3_6).unsafe_no_fsync().start().unwrap();
    let client = cluster.client(0).unwrap();
    for key in ["a", "b"] {
        cluster.block_on(client.put(key, vec![1; 500_000], 0)).unwrap();
    }
    cluster
}

/// Stands between one client and the member, and after so many bytes of answers asks `interfere` whether to go on.
fn proxy(cluster: &Cluster, interfere: impl FnOnce() -> bool + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let member = cluster.client_endpoint(0).strip_prefix("http://").unwrap().to_owned();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(member).unwrap();
        let (mut requests, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut requests, &mut to_server));
        let mut chunk = [0; 4096];
        let mut answered = 0;
        while answered < MEDDLE_AT {
            let count = server.read(&mut chunk).unwrap();
            client.write_all(&chunk[..count]).unwrap();
            answered += count;
        }
        if interfere() {
            // Ends with an error when the client hangs up first.
            let _ = std::io::copy(&mut server, &mut client);
        }
        // The clone in the other thread would keep it open.
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
    url
}

/// A connection that breaks in the middle is an error, not a short file.
#[test]
fn a_snapshot_cut_short_leaves_no_file() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = member();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db").display().to_string();
    let url = proxy(&cluster, || false);
    fails(&lifeboat(["save", &url, &path]), 1, &[&url, "Maintenance/Snapshot"]);
    assert_eq!(entries(dir.path()), [""; 0]);
}

/// Two backups at once, to the same name: the first to end has it.
#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    lab::or_skip!(peers::etcd(EtcdVersion::V3_6));
    let cluster = member();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    let appearing = path.clone();
    let url = proxy(&cluster, move || {
        fs_err::write(appearing, "somebody else's backup").unwrap();
        true
    });
    fails(&lifeboat(["save", &url, &path.display().to_string()]), 4, &["exists", "choose another file name"]);
    assert_eq!(entries(dir.path()), ["backup.db"]);
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "somebody else's backup");
}
