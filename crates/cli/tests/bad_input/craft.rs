//! Databases made for these tests: a small sound one, and pages put together by hand.

use std::collections::BTreeMap;
use std::io::Cursor;

use lifeboat_bbolt::{Writer, WriterOptions};
use lifeboat_etcd::Revision;
use sha2::{Digest, Sha256};

/// Flags of pages and elements (`internal/common/page.go`).
pub const BRANCH: u16 = 0x01;
pub const LEAF: u16 = 0x02;
pub const META: u16 = 0x04;
pub const VALUE: u32 = 0;
pub const BUCKET: u32 = 1;

pub const PAGE_SIZE: usize = 4096;

pub type Buckets = BTreeMap<&'static str, Vec<(Vec<u8>, Vec<u8>)>>;

/// Contents of a store of etcd 3.6: every bucket, 24 keys, one deleted, a transaction of two changes.
pub fn contents() -> Buckets {
    let pair = |key: &str, value: &[u8]| (key.as_bytes().to_vec(), value.to_vec());
    let mut revisions: Vec<_> = (2..26)
        .map(|main| (revision(main, 0), key_value(&format!("/registry/pods/default/pod-{main}"), main, 7)))
        .collect();
    revisions.push((revision(26, 0), key_value("/registry/a", 26, 0)));
    revisions.push((revision(26, 1), key_value("/registry/b", 26, 0)));
    revisions.push(([revision(27, 0), b"t".to_vec()].concat(), field(1, b"/registry/a")));
    let lease = [b"\x08\x07\x10".to_vec(), varint(3600)].concat();
    let member = r#"{"id":8210000000000000001,"peerURLs":["http://h:2380"],"name":"m1"}"#;
    Buckets::from([
        ("alarm", vec![]),
        ("auth", vec![pair("authEnabled", &[0]), pair("authRevision", &1u64.to_be_bytes())]),
        ("authRoles", vec![]),
        ("authUsers", vec![]),
        ("cluster", vec![pair("clusterVersion", b"3.6.0")]),
        ("key", revisions),
        ("lease", vec![(7u64.to_be_bytes().to_vec(), lease)]),
        ("members", vec![(format!("{:x}", 8_210_000_000_000_000_001u64).into_bytes(), member.into())]),
        ("members_removed", vec![]),
        (
            "meta",
            vec![
                pair("confState", br#"{"voters":[8210000000000000001],"auto_leave":false}"#),
                pair("consistent_index", &40u64.to_be_bytes()),
                pair("finishedCompactRev", &revision(3, 0)),
                pair("scheduledCompactRev", &revision(3, 0)),
                pair("storageVersion", b"3.6.0"),
                pair("term", &2u64.to_be_bytes()),
            ],
        ),
    ])
}

pub fn db(buckets: &Buckets, page_size: u32) -> Vec<u8> {
    let options = WriterOptions { page_size, ..Default::default() };
    let mut writer = Writer::new(Cursor::new(Vec::new()), options).unwrap();
    for (name, pairs) in buckets {
        writer.start_bucket(name.as_bytes()).unwrap();
        pairs.iter().for_each(|(key, value)| writer.put(key, value).unwrap());
    }
    writer.finish().unwrap().0.into_inner()
}

/// The same with the right digest behind it: damage that the digest vouches for.
pub fn snapshot(mut db: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&db);
    db.extend_from_slice(&digest);
    db
}

pub fn revision(main: i64, sub: i64) -> Vec<u8> {
    Revision { main, sub }.to_bytes().to_vec()
}

/// A key's first version.
pub fn key_value(key: &str, main: i64, lease: u64) -> Vec<u8> {
    let number = |tag: u8, value: u64| [vec![tag << 3], varint(value)].concat();
    let main = main as u64;
    let value = field(5, format!("what {key} holds").as_bytes());
    [field(1, key.as_bytes()), number(2, main), number(3, main), number(4, 1), value, number(6, lease)]
        .concat()
}

pub fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![tag << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub fn header(id: u64, flags: u16, count: u16, overflow: u32) -> Vec<u8> {
    let numbers = [&flags.to_le_bytes()[..], &count.to_le_bytes(), &overflow.to_le_bytes()].concat();
    [&id.to_le_bytes()[..], &numbers].concat()
}

/// A leaf page without padding.
pub fn leaf(id: u64, elements: &[(u32, &[u8], &[u8])]) -> Vec<u8> {
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for (index, (flags, key, value)) in elements.iter().enumerate() {
        let position = (elements.len() - index) * 16 + data.len();
        table.extend(
            [*flags, position as u32, key.len() as u32, value.len() as u32].map(u32::to_le_bytes).concat(),
        );
        data.extend([*key, *value].concat());
    }
    let bytes = 16 + table.len() + data.len();
    let overflow = if id == 0 { 0 } else { bytes.div_ceil(PAGE_SIZE) - 1 };
    [header(id, LEAF, elements.len() as u16, overflow as u32), table, data].concat()
}

/// A branch page with big-endian numbers as keys.
pub fn branch(id: u64, children: &[u64]) -> Vec<u8> {
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for (index, child) in children.iter().enumerate() {
        let position = (children.len() - index) * 16 + data.len();
        table.extend([position as u32, 4].map(u32::to_le_bytes).concat());
        table.extend(child.to_le_bytes());
        data.extend((index as u32 + 1).to_be_bytes());
    }
    let overflow = (16 + table.len() + data.len()).div_ceil(PAGE_SIZE) - 1;
    [header(id, BRANCH, children.len() as u16, overflow as u32), table, data].concat()
}

/// The value of a bucket element whose tree starts at a page.
pub fn bucket_at(page: u64) -> Vec<u8> {
    [page.to_le_bytes(), [0; 8]].concat()
}

/// The value of a bucket element that holds its one page itself.
pub fn bucket_inline(page: &[u8]) -> Vec<u8> {
    [&bucket_at(0), page].concat()
}

/// A file of `pages` pages with the given ones at their places; page 2 is the root. No freelist.
pub fn file(pages: u64, given: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; pages as usize * PAGE_SIZE];
    let metas = [(0, meta(0, pages)), (1, meta(1, pages))];
    for (id, page) in metas.iter().chain(given) {
        let at = *id as usize * PAGE_SIZE;
        bytes[at..at + page.len()].copy_from_slice(page);
    }
    bytes
}

pub fn meta(index: u64, pages: u64) -> Vec<u8> {
    let mut meta = [0xed0c_daed_u32, 2, PAGE_SIZE as u32, 0].map(u32::to_le_bytes).concat();
    meta.extend([2, 0, u64::MAX, pages, index].map(u64::to_le_bytes).concat());
    let fnv1a = meta.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    [header(index, META, 0, 0), meta, fnv1a.to_le_bytes().to_vec()].concat()
}
