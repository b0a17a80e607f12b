//! The README's transcript is what the program prints.

use std::path::Path;

#[test]
fn the_readme_shows_what_the_program_prints() {
    let dir = tempfile::tempdir().unwrap();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    // trycmd runs a page's commands in the folder beside it.
    let work = dir.path().join("README.in");
    fs_err::create_dir(&work).unwrap();
    fs_err::copy(readme, dir.path().join("README.md")).unwrap();
    fs_err::copy(lab::fixture::kubernetes_snapshot(), work.join("backup.db")).unwrap();
    trycmd::TestCases::new().case(dir.path().join("README.md")).run();
}
