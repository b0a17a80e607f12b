//! The README's transcript, and those of a newcomer's mistakes and of several sources, are what the program prints.

use std::path::Path;

/// Runs a page's commands where `backup.db` is a snapshot, `cut.db` the begin of it, `folder` holds nothing, and `m1`,
/// `m2` and `m3` are the members of a lost quorum.
fn is_what_the_program_prints(page: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join(page.file_name().unwrap());
    fs_err::copy(page, &copy).unwrap();
    // trycmd runs a page's commands in the folder beside it.
    let work = copy.with_extension("in");
    fs_err::create_dir_all(work.join("folder")).unwrap();
    let snapshot = fs_err::read(lab::fixture::kubernetes_snapshot()).unwrap();
    fs_err::write(work.join("cut.db"), &snapshot[..100_000]).unwrap();
    fs_err::write(work.join("backup.db"), snapshot).unwrap();
    lab::fixture::members_of_a_lost_quorum(&work);
    trycmd::TestCases::new().case(copy).run();
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    is_what_the_program_prints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"));
}

#[test]
fn mistakes_are_answered_with_what_to_do() {
    is_what_the_program_prints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes.trycmd"));
}

#[test]
fn several_sources_are_compared() {
    is_what_the_program_prints(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compare.trycmd"));
}
