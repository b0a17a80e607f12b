//! What ARCHITECTURE.md says about the source: which crates and modules may import what.
//!
//! The tests read the code, except that of other tests. Each exception has its reason here, and fails once it is not
//! needed.

mod cycles;
mod source;

use cycles::{Graph, cycles};
use source::{Crate, Import, workspace};

/// What each crate may depend on, apart from its tests.
const DEPENDENCIES: [(&str, &[&str]); 6] = [
    ("bbolt", &[]),
    ("client", &[]),
    ("etcd", &["lifeboat-bbolt"]),
    ("recovery", &["lifeboat-client", "lifeboat-etcd"]),
    ("cli", &["lifeboat-client", "lifeboat-etcd", "lifeboat-recovery"]),
    ("lab", &["lifeboat-client", "lifeboat-etcd"]),
];

/// Crates and parts of the standard library that do I/O.
const IO: [&str; 20] = [
    "fs_err",
    "kube",
    "lifeboat_client",
    "lifeboat_etcd::open",
    "openssh",
    "reqwest",
    "rustix",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "std::process",
    "tempfile",
    "tokio",
];

/// The modules of `recovery` that decide, and those that do I/O.
const DECIDE: [&str; 6] = ["facts", "finding", "plan", "planner", "quorum", "rules"];
const ACT: [&str; 10] = [
    "crate::agent",
    "crate::discover",
    "crate::execute",
    "crate::host",
    "crate::journal::Journal",
    "crate::operation",
    "crate::ownership",
    "crate::probe",
    "crate::provider",
    "crate::recover",
];

/// The files that open files, or do other I/O, in modules that otherwise do none.
const BOUNDARY: [(&str, &str); 10] = [
    ("crates/etcd/src/files.rs", "opens a source's file"),
    ("crates/etcd/src/archive/folder.rs", "finds the snapshot in a folder"),
    ("crates/etcd/src/archive/spool.rs", "unpacks into a temporary file, in $TMPDIR if it is set"),
    ("crates/etcd/src/raft_snapshot.rs", "reads the raft snapshots of a data dir"),
    ("crates/etcd/src/restore/raft_log.rs", "reads back what a restore wrote"),
    ("crates/etcd/src/restore/staging.rs", "creates a data dir under a name with the process id"),
    ("crates/etcd/src/sources/data_dir.rs", "locks a data dir, and reads the names of its files"),
    ("crates/etcd/src/sources/locate.rs", "finds out what a path is"),
    ("crates/etcd/src/wal/dir.rs", "lists and opens the segments of a log"),
    ("crates/recovery/src/facts/file.rs", "saves facts, and loads them from a file"),
];

#[test]
fn crates_depend_downwards() {
    let mut problems = Vec::new();
    for (name, allowed) in DEPENDENCIES {
        let file = format!("crates/{name}/Cargo.toml");
        let manifest = fs_err::read_to_string(workspace().join(&file)).unwrap();
        let mut section = "";
        for (index, line) in manifest.lines().enumerate() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap();
            let is_ours = dependency == "lab" || dependency.starts_with("lifeboat");
            if line.starts_with('[') {
                section = line;
            } else if section == "[dependencies]" && is_ours && !allowed.contains(&dependency) {
                problems.push(format!("{file}:{}: {name} depends on {dependency}", index + 1));
            }
        }
    }
    assert_none(&problems);
}

/// A file that a caller opened may be read; the path of one may be opened only at the boundary.
#[test]
fn modules_that_read_bytes_or_decide_do_no_other_io() {
    let crates = ["bbolt", "etcd", "recovery"].map(Crate::read);
    let (io, rest): (Vec<&Import>, Vec<_>) =
        crates.iter().flat_map(|read| &read.imports).partition(|import| does_io(import));
    assert!(rest.len() > 1000, "only {} imports were found", rest.len());
    let at_boundary = |import: &Import| BOUNDARY.iter().any(|(file, _)| *file == import.file);
    let forbidden = io.iter().filter(|import| !at_boundary(import));
    let mut problems: Vec<String> = forbidden
        .map(|import| format!("{}:{}: imports {}, which does I/O", import.file, import.line, import.path))
        .collect();
    for (file, why) in BOUNDARY {
        if !io.iter().any(|import| import.file == file) {
            problems.push(format!("{file} does no I/O: remove it from BOUNDARY ({why})"));
        }
    }
    assert_none(&problems);
}

fn does_io(import: &Import) -> bool {
    let is_one_of = |list: &[&str]| list.iter().any(|outer| is_within(&import.path, outer));
    // What the compiler knows.
    if is_within(&import.path, "std::env::consts") {
        return false;
    }
    if import.file.starts_with("crates/recovery/") {
        DECIDE.contains(&import.module.as_str()) && (is_one_of(&IO) || is_one_of(&ACT))
    } else {
        is_one_of(&IO) && !is_open_file(&import.path)
    }
}

/// Whether a path names a file that is open already.
fn is_open_file(path: &str) -> bool {
    let opens = ["create", "create_new", "open", "options"];
    let method = path.strip_prefix("std::fs::File").or_else(|| path.strip_prefix("fs_err::File"));
    method.is_some_and(|method| !opens.contains(&method.trim_start_matches("::")))
}

fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The lab is left out: it creates machines, and the cluster on them, together.
#[test]
fn modules_of_a_crate_import_in_one_direction() {
    let mut problems = Vec::new();
    for (name, _) in DEPENDENCIES.iter().filter(|(name, _)| *name != "lab") {
        let read = Crate::read(name);
        let imports: Vec<_> = between_modules(&read).collect();
        for cycle in cycles(&graph(&imports)) {
            let modules: Vec<&str> = cycle.iter().map(String::as_str).collect();
            problems.push(format!("crates/{name}: {} import from each other:", modules.join(", ")));
            let within =
                imports.iter().filter(|(import, to)| cycle.contains(&import.module) && cycle.contains(*to));
            problems.extend(
                within.map(|(import, _)| format!("    {}:{}: {}", import.file, import.line, import.path)),
            );
        }
    }
    assert_none(&problems);
}

/// Imports from another module of the crate, with that module.
fn between_modules(read: &Crate) -> impl Iterator<Item = (&Import, &str)> {
    read.imports.iter().filter_map(|import| {
        let target = import.path.strip_prefix("crate::")?.split("::").next()?;
        let is_other = target != import.module && read.modules.contains(target);
        is_other.then_some((import, target))
    })
}

fn graph(imports: &[(&Import, &str)]) -> Graph {
    let mut graph = Graph::new();
    for (import, target) in imports {
        graph.entry(import.module.clone()).or_default().insert((*target).to_owned());
    }
    graph
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "see \"Crates\" in ARCHITECTURE.md\n{}", problems.join("\n"));
}
