//! What is written is what is read: the writer and the reader against a `BTreeMap`.

use std::collections::BTreeMap;
use std::io::Cursor;

use lifeboat_bbolt::{CheckVisitor, Damage, Db, Error, Writer, WriterOptions, check};
use proptest::prelude::*;

type Buckets = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn write(buckets: &Buckets, options: WriterOptions) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), options).unwrap();
    for (name, pairs) in buckets {
        writer.start_bucket(name).unwrap();
        for (key, value) in pairs {
            writer.put(key, value).unwrap();
        }
    }
    let (out, written) = writer.finish().unwrap();
    assert_eq!(out.get_ref().len() as u64, written.bytes);
    out.into_inner()
}

fn read(bytes: &[u8]) -> Buckets {
    let db = Db::open(bytes.to_vec()).unwrap();
    db.ensure_complete().unwrap();
    let mut all = Buckets::new();
    for (name, bucket) in db.buckets().unwrap() {
        let pairs = all.entry(name).or_default();
        db.for_each::<Error>(&bucket, |key, value| {
            pairs.insert(key.to_vec(), value.to_vec());
            Ok(())
        })
        .unwrap();
    }
    all
}

#[derive(Default)]
struct Found {
    damage: Vec<Damage>,
    values: u64,
}

impl CheckVisitor for Found {
    fn damage(&mut self, damage: Damage) {
        self.damage.push(damage);
    }
    fn value(&mut self, _bucket: &[Vec<u8>], _key: &[u8], _value: &[u8]) {
        self.values += 1;
    }
}

fn damage(bytes: &[u8]) -> Vec<Damage> {
    let mut found = Found::default();
    match Db::open(bytes.to_vec()).and_then(|db| check(&db, &mut found)) {
        Ok(()) => {}
        Err(Error::Damaged(damage)) => found.damage.push(damage),
        Err(error) => panic!("not damage: {error}"),
    }
    found.damage
}

fn pairs() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..64),
        3 => prop::collection::vec(any::<u8>(), 900..2500),
        1 => prop::collection::vec(any::<u8>(), 9000..20000),
    ];
    prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..40), value, 0..120)
}

fn buckets() -> impl Strategy<Value = Buckets> {
    prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..20), pairs(), 0..5)
}

fn options() -> impl Strategy<Value = WriterOptions> {
    (9u32..15, 10u8..=100)
        .prop_map(|(shift, fill_percent)| WriterOptions { page_size: 1 << shift, fill_percent })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn written_is_read_back_and_clean(buckets in buckets(), options in options()) {
        let bytes = write(&buckets, options);
        prop_assert_eq!(damage(&bytes), []);
        prop_assert_eq!(read(&bytes), buckets);
    }

    #[test]
    fn any_bytes_end_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        damage(&bytes);
    }

    #[test]
    fn any_change_ends_in_a_result(
        buckets in buckets(),
        options in options(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = write(&buckets, options);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        damage(&bytes);
        if let Ok(db) = Db::open(bytes) {
            for (_, bucket) in db.buckets().unwrap_or_default() {
                let _ = db.for_each::<Error>(&bucket, |_, _| Ok(()));
            }
        }
    }
}

/// Many levels: tiny pages and enough keys that branch pages fill branch pages.
#[test]
fn deep_trees_are_clean() {
    let key = |n: u64| n.to_be_bytes().to_vec();
    for count in [0, 1, 2, 3, 15, 16, 17, 100, 1000, 20_000] {
        let buckets = Buckets::from([(b"key".to_vec(), (0..count).map(|n| (key(n), key(n))).collect())]);
        let bytes = write(&buckets, WriterOptions { page_size: 512, fill_percent: 60 });
        assert_eq!(damage(&bytes), [], "{count} keys");
        assert_eq!(read(&bytes), buckets);
    }
}

#[test]
fn writer_refuses_what_bbolt_cannot_hold() {
    let mut writer = Writer::new(Cursor::new(Vec::new()), WriterOptions::default()).unwrap();
    assert!(matches!(writer.put(b"a", b""), Err(Error::NoBucket)));
    writer.start_bucket(b"b").unwrap();
    writer.put(b"k", b"").unwrap();
    assert!(matches!(writer.put(b"k", b""), Err(Error::KeyOrder { .. })));
    assert!(matches!(writer.put(b"", b""), Err(Error::Size { .. })));
    assert!(matches!(writer.put(&[b'z'; 40_000], b""), Err(Error::Size { .. })));
    writer.start_bucket(b"a").unwrap();
    assert!(matches!(writer.finish(), Err(Error::KeyOrder { .. })));
    let bad = WriterOptions { page_size: 1000, ..Default::default() };
    assert!(matches!(Writer::new(Cursor::new(Vec::new()), bad), Err(Error::Size { .. })));
}

/// A running etcd commits to its db: what was read before and after does not belong together.
#[test]
fn a_commit_to_the_open_file_is_noticed() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let buckets = Buckets::from([(b"key".to_vec(), BTreeMap::from([(b"a".to_vec(), b"1".to_vec())]))]);
    fs_err::write(&path, write(&buckets, WriterOptions::default())).unwrap();
    let db = Db::open(std::fs::File::open(&path).unwrap()).unwrap();
    db.ensure_unchanged().unwrap();
    let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Any change to a meta page: a commit raises its transaction id and with it the checksum.
    writer.write_all_at(&[0xff], 16 + 56).unwrap();
    assert!(matches!(db.ensure_unchanged(), Err(Error::Changed)));
}
