//! Pages overwritten with noise, seeded.

use std::path::Path;

use fastrand::Rng;

use crate::sample::sample;
use crate::truth::{PAGE, Truth, salvage_of};

/// Writes noise over pages of a copy.
pub fn overwrite(db: &[u8], pages: &[usize], rng: &mut Rng, path: &Path) {
    let mut bytes = db.to_vec();
    for page in pages {
        rng.fill(&mut bytes[page * PAGE..(page + 1) * PAGE]);
    }
    fs_err::write(path, bytes).unwrap();
}

fn check(pages: &[usize], seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (sound, path) = (dir.path().join("sound"), dir.path().join("db"));
    fs_err::write(&sound, &sample().db).unwrap();
    let truth = Truth::of(&sound);
    overwrite(&sample().db, pages, &mut Rng::with_seed(seed), &path);
    let outcome = salvage_of(&path);
    let what = format!("seed {seed}, pages {pages:?}");
    outcome.has_all_on_intact_leaves(&truth, pages, &what);
    outcome.accounts_honestly(&truth, &what);
}

#[test]
fn one_page_of_a_hundred_is_noise() {
    lab::or_skip!(lab::peers::etcd(lab::peers::EtcdVersion::V3_6));
    let count = sample().db.len() / PAGE;
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let pages: Vec<_> = (0..count.div_ceil(100)).map(|_| rng.usize(0..count)).collect();
        check(&pages, seed);
    }
}
