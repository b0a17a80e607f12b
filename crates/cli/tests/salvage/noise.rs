//! Damage of any kind anywhere, seeded, and what is made of it compared with what was.
//!
//! `LIFEBOAT_DAMAGE_ROUNDS` is the number of rounds, `LIFEBOAT_DAMAGE_SEED` the first seed.

use std::collections::HashSet;
use std::ops::Range;

use fastrand::Rng;

use crate::sample::sample;
use crate::truth::{Outcome, PAGE, Truth, salvage_of};

fn rounds(few: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("LIFEBOAT_DAMAGE_SEED").unwrap_or(0);
    first..first + number("LIFEBOAT_DAMAGE_ROUNDS").unwrap_or(few)
}

/// Salvages a damaged copy of the sample. `change` returns the pages it damaged.
fn damage(
    what: &str,
    change: impl FnOnce(&mut Vec<u8>) -> Vec<usize>,
    expect: fn(&Outcome, &Truth, &[usize], &str),
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fs_err::write(&path, &sample().db).unwrap();
    let truth = Truth::of(&path);
    let mut bytes = sample().db.clone();
    let pages = change(&mut bytes);
    fs_err::write(&path, bytes).unwrap();
    expect(&salvage_of(&path), &truth, &pages, &format!("{what}, pages {pages:?}"));
}

/// A page as a number of it, of all that the file has.
fn page_of(bytes: &mut [u8], page: usize) -> &mut [u8] {
    &mut bytes[page * PAGE..(page + 1) * PAGE]
}

#[test]
fn noise_on_one_page_of_a_hundred_is_survived() {
    lab::or_skip!(lab::peers::etcd(lab::peers::EtcdVersion::V3_6));
    for seed in rounds(30) {
        let mut rng = Rng::with_seed(seed);
        let change = |bytes: &mut Vec<u8>| {
            let count = bytes.len() / PAGE;
            let pages: Vec<_> = (0..count.div_ceil(100)).map(|_| rng.usize(0..count)).collect();
            pages.iter().for_each(|page| rng.fill(page_of(bytes, *page)));
            pages
        };
        damage(&format!("seed {seed}"), change, |outcome, truth, pages, what| {
            outcome.has_all_on_intact_leaves(truth, pages, what);
            outcome.expect_correct_report(truth, what);
        });
    }
}

/// Does something to a page: noise, zeros, a flipped bit, another page as it is, or with the right number.
fn damage_page(bytes: &mut [u8], page: usize, rng: &mut Rng, kinds: Range<u8>) {
    let other = rng.usize(0..bytes.len() / PAGE);
    match rng.u8(kinds) {
        0 => rng.fill(page_of(bytes, page)),
        1 => page_of(bytes, page).fill(0),
        2 => page_of(bytes, page)[rng.usize(0..PAGE)] ^= 1 << rng.u8(0..8),
        3 => bytes.copy_within(other * PAGE..(other + 1) * PAGE, page * PAGE),
        _ => {
            bytes.copy_within(other * PAGE..(other + 1) * PAGE, page * PAGE);
            page_of(bytes, page)[..8].copy_from_slice(&(page as u64).to_le_bytes());
        }
    }
}

/// Spoils up to so many pages.
fn damage_some_pages(bytes: &mut [u8], most: usize, rng: &mut Rng, kinds: Range<u8>) -> Vec<usize> {
    let count = bytes.len() / PAGE;
    let pages: Vec<_> = (0..rng.usize(1..=most)).map(|_| rng.usize(0..count)).collect();
    pages.iter().for_each(|page| damage_page(bytes, *page, rng, kinds.clone()));
    pages
}

/// What a disk or memory does: pages that are lost, rotten, or written where they do not belong.
#[test]
fn the_report_on_disk_damage_is_correct() {
    lab::or_skip!(lab::peers::etcd(lab::peers::EtcdVersion::V3_6));
    for seed in rounds(60) {
        let mut rng = Rng::with_seed(seed);
        let change = |bytes: &mut Vec<u8>| {
            let most = bytes.len() / PAGE / 20;
            damage_some_pages(bytes, most, &mut rng, 0..4)
        };
        damage(&format!("seed {seed}"), change, |outcome, truth, _, what| {
            outcome.expect_correct_report(truth, what);
        });
    }
}

/// Forged pages lie where no page is in use: over a root, or one with the same first key, they would pass for it.
#[test]
fn a_salvage_reported_as_complete_is_complete() {
    lab::or_skip!(lab::peers::etcd(lab::peers::EtcdVersion::V3_6));
    let in_use = sample_pages();
    for seed in rounds(100) {
        let mut rng = Rng::with_seed(seed);
        let change = |bytes: &mut Vec<u8>| {
            let mut pages = damage_some_pages(bytes, 3, &mut rng, 0..4);
            let forged = rng.usize(0..bytes.len() / PAGE);
            if !in_use.contains(&forged) {
                damage_page(bytes, forged, &mut rng, 4..5);
                pages.push(forged);
            }
            pages
        };
        damage(&format!("seed {seed}"), change, |outcome, truth, _, what| {
            outcome.expect_complete_if_reported(truth, what);
        });
    }
}

/// The pages that the sample's newest state uses.
fn sample_pages() -> HashSet<usize> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fs_err::write(&path, &sample().db).unwrap();
    let Truth { leaves, other_pages, .. } = Truth::of(&path);
    leaves.into_iter().flat_map(|leaf| leaf.pages).chain(other_pages).collect()
}
