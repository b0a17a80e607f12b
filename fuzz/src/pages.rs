//! bbolt's meta pages and trees.

use lifeboat_bbolt::{CheckVisitor, Damage, Db, Error, check};

/// Offset of a meta page's fields, and of its checksum among them (`internal/common/meta.go`).
const META: usize = 16;
const CHECKSUM: usize = 56;

/// Reads a bbolt file as it is, and with the checksums of its meta pages set right: else nearly no change gets past
/// them.
pub fn bbolt(bytes: &[u8]) {
    read(bytes);
    read(&with_sound_metas(bytes));
}

fn read(bytes: &[u8]) {
    let Ok(db) = Db::open(bytes) else { return };
    let mut seen = Seen::default();
    check(&db, &mut seen).expect("bytes in memory can be read");
    let values = values(&db);
    if seen.damage == 0 {
        let values = values.expect("what a check calls sound can be read");
        assert_eq!(values, seen.values, "a check and a read see the same");
    }
}

#[derive(Default)]
struct Seen {
    damage: u64,
    values: u64,
}

impl CheckVisitor for Seen {
    fn damage(&mut self, _damage: Damage) {
        self.damage += 1;
    }

    fn value(&mut self, _bucket: &[Vec<u8>], _key: &[u8], _value: &[u8]) {
        self.values += 1;
    }
}

/// How many values all buckets hold.
fn values(db: &Db<&[u8]>) -> Result<u64, Error> {
    let mut values = 0;
    for (_, bucket) in db.buckets()? {
        let mut last: Option<Vec<u8>> = None;
        db.for_each(&bucket, |key, _| {
            assert!(last.as_deref().is_none_or(|last| last < key), "keys ascend");
            last = Some(key.to_vec());
            values += 1;
            Ok::<_, Error>(())
        })?;
    }
    Ok(values)
}

/// The same with the checksums that its meta pages should have.
pub fn with_sound_metas(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let page_size = bytes.get(META + 8..META + 12).and_then(<[u8]>::first_chunk);
    let second = page_size.map_or(0, |size| u32::from_le_bytes(*size)) as usize;
    for page in [0, second] {
        let meta = page.checked_add(META).and_then(|start| bytes.get_mut(start..)?.get_mut(..CHECKSUM + 8));
        if let Some((fields, checksum)) = meta.map(|meta| meta.split_at_mut(CHECKSUM)) {
            checksum.copy_from_slice(&fnv1a(fields).to_le_bytes());
        }
    }
    bytes
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
