//! The facts files: the cases of the builder, and recordings from the lab.

use std::path::PathBuf;

use lifeboat_recovery::facts::Facts;

/// A recorded case's file.
pub fn file(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/facts/{case}.json"))
}

/// Every file of facts, by its name.
pub fn all() -> Vec<(String, Facts)> {
    let entries = file("any").parent().unwrap().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        let facts = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), facts)
    };
    files.map(read).collect()
}
