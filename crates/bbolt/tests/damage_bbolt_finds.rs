//! Whatever damage `bbolt check` finds, our check finds: seeded changes to the structure of a real
//! Kubernetes db, given to both.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lifeboat_bbolt::{CheckVisitor, Damage, Db, Error, check};

const ROUNDS: u64 = 160;
const PAGE: u64 = 4096;
/// The real tool may loop on damage: so often it is looked after, and then it is ended. It did not find it sound.
const PATIENCE: u32 = 2500;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Found(Vec<Damage>);

impl CheckVisitor for Found {
    fn damage(&mut self, damage: Damage) {
        self.0.push(damage);
    }
    fn value(&mut self, _bucket: &[Vec<u8>], _key: &[u8], _value: &[u8]) {}
}

fn our_damage(path: &Path) -> Vec<Damage> {
    let mut found = Found::default();
    match Db::open(File::open(path).unwrap()).and_then(|db| check(&db, &mut found)) {
        Ok(()) => {}
        Err(Error::Damaged(damage)) => found.0.push(damage),
        Err(error) => panic!("{error:?}"),
    }
    found.0
}

/// Whether the real tool calls the file sound.
fn bbolt_says_ok(tool: &Path, path: &Path) -> bool {
    let mut command = Command::new(tool);
    command.arg("check").arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    for _ in 0..PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(PAUSE);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn whatever_damage_bbolt_finds_we_find() {
    let tool = lab::or_skip!(lab::peers::bbolt());
    let dir = tempfile::tempdir().unwrap();
    // etcd keeps no freelist on disk; the tool makes one, so that there is one to damage.
    let snapshot = fs_err::read(lab::fixture::kubernetes_snapshot()).unwrap();
    let [raw, sound, damaged] = ["raw", "sound", "damaged"].map(|name| dir.path().join(name));
    fs_err::write(&raw, &snapshot[..snapshot.len() - 32]).unwrap();
    let rebuilt = Command::new(&tool)
        .args(["surgery", "freelist", "rebuild"])
        .arg(&raw)
        .arg("--output")
        .arg(&sound)
        .output()
        .unwrap();
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    let sound = fs_err::read(&sound).unwrap();
    let pages = sound.len() as u64 / PAGE;

    let mut state = 20_261_123;
    let mut tally: BTreeMap<(bool, bool), u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        fs_err::write(&damaged, &sound).unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(&damaged).unwrap();
        // In the page header and the first elements: what carries the structure.
        let at = random(&mut state) % pages * PAGE + random(&mut state) % 96;
        let byte = [random(&mut state) as u8];
        file.file().write_all_at(&byte, at).unwrap();
        drop(file);
        let theirs = bbolt_says_ok(&tool, &damaged);
        let ours = our_damage(&damaged);
        assert!(
            theirs || !ours.is_empty(),
            "round {round}: byte {at} set to {byte:?} is found by bbolt alone"
        );
        *tally.entry((theirs, ours.is_empty())).or_default() += 1;
    }
    println!("(bbolt says ok, we say ok): rounds: {tally:?}");
}
