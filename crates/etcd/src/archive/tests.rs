use std::io::{Read, Write, repeat};
use std::path::Path;

use super::spool::{Limits, Spool};
use super::*;

fn spooled(limits: Limits, bytes: u64) -> Result<u64> {
    let mut spool = Spool::new(Path::new("bomb.gz"), limits)?;
    spool.copy(&mut repeat(0).take(bytes))?;
    Ok(spool.file.metadata().unwrap().len())
}

fn refusal(result: Result<u64>) -> String {
    match result {
        Err(Error::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Kilobytes may unpack to terabytes.
#[test]
fn what_is_unpacked_is_bounded() {
    let limits = Limits { size: 3 << 20, spare: 0 };
    assert_eq!(spooled(limits, 3 << 20).unwrap(), 3 << 20);
    assert!(refusal(spooled(limits, (3 << 20) + 1)).contains("bomb.gz unpacks to more than"));
    let full = Limits { spare: u64::MAX / 2, ..limits };
    assert!(refusal(spooled(full, 1)).contains("no room to unpack bomb.gz"));
}

#[test]
fn layers_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quine.gz");
    let mut bytes = b"x".to_vec();
    for _ in 0..=MAX_LAYERS {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        bytes = encoder.finish().unwrap();
    }
    fs_err::write(&path, bytes).unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("packed more than 3 times"), "{error}");
}

/// A tape or `dd` fills the last block with zeros, an editor adds a newline.
#[test]
fn what_follows_gzip_data_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("padded.gz");
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let two_members = [packed(b"one, "), packed(b"two")].concat();
    for behind in [vec![], vec![0; 5000], b"\n".to_vec()] {
        fs_err::write(&path, [two_members.as_slice(), &behind].concat()).unwrap();
        let mut file = open(&path).unwrap();
        file.rewind().unwrap();
        let mut read = String::new();
        file.read_to_string(&mut read).unwrap();
        assert_eq!(read, "one, two");
    }
}
