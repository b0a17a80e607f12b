//! What a file is, by its first bytes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};

/// What can be unpacked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Gzip,
    Zlib,
    Xz,
    Zstd,
    Zip,
    Tar,
}

/// Its meta page comes first or second; etcd's pages are of the machine's size.
const PAGE_SIZES: [usize; 3] = [4096, 16384, 65536];
/// bbolt's magic number, and where it is in a page.
const BBOLT: &[u8] = &0xED0C_DAED_u32.to_le_bytes();
const BBOLT_AT: usize = 16;
const HEAD: usize = 65536 + 64;

pub(super) const GZIP: &[u8] = b"\x1f\x8b\x08";
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const ZIP: &[u8] = b"PK\x03\x04";
const TAR: &[u8] = b"ustar";
const TAR_AT: usize = 257;

/// Full and delta snapshots of etcd-backup-restore, which Gardener uses: `Full-00000000-00009002-1518427675.gz`.
pub(super) const FULL: &str = "Full-";
pub(super) const DELTA: &str = "Incr-";
/// The manifests of static pods, which OpenShift's backup has beside the snapshot.
pub(super) const OPENSHIFT: &str = "static_kuberesources";

/// Files often found where a snapshot is expected: magic bytes, description, and remedy.
const FOREIGN: [(&[u8], &str, &str); 8] = [
    (
        b"SQLite format 3\0",
        "an SQLite database, not an etcd db: k3s without etcd (kine) keeps one in server/db/state.db",
        "with k3s stopped, put it back with its -wal and -shm files; k3s server --cluster-init then migrates it to etcd",
    ),
    (b"BZh", "compressed with bzip2, which is not supported", "unpack it with `bunzip2 -k FILE`"),
    (b"\x04\x22\x4d\x18", "compressed with lz4, which is not supported", "unpack it with `lz4 -d FILE`"),
    (
        b"\x1f\x9d",
        "compressed with LZW, which is not supported",
        "unpack it with `uncompress -k FILE`, or `gzip -dk FILE`",
    ),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive, which is not supported", "unpack it with `7z x FILE`"),
    (b"age-encryption.org/v1", "encrypted with age", "decrypt it with `age -d -i KEY -o OUT FILE`"),
    (
        b"Salted__",
        "encrypted with openssl enc",
        "decrypt it with the cipher and the password it was encrypted with",
    ),
    (b"-----BEGIN PGP MESSAGE", "encrypted with PGP", "decrypt it with `gpg -o OUT -d FILE`"),
];

/// The first bytes of a file, or of what is in an archive.
pub(super) struct Head(Vec<u8>);

impl Head {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut bytes = vec![0; HEAD];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(Self(bytes))
    }

    pub(super) fn read(reader: &mut dyn Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        reader.take(HEAD as u64).read_to_end(&mut bytes)?;
        Ok(Self(bytes))
    }

    fn has(&self, bytes: &[u8], at: usize) -> bool {
        self.0.get(at..).is_some_and(|rest| rest.starts_with(bytes))
    }

    /// Whether a meta page of bbolt's is where one belongs.
    fn is_bbolt(&self) -> bool {
        self.has(BBOLT, BBOLT_AT) || PAGE_SIZES.iter().any(|size| self.has(BBOLT, size + BBOLT_AT))
    }

    /// Compression or archive format. A db with a damaged first page is still a db.
    pub(super) fn format(&self, path: &Path) -> Option<Format> {
        if self.is_bbolt() {
            return None;
        }
        let is_zlib = name(path).starts_with(FULL) && self.is_zlib();
        [
            (GZIP, 0, Format::Gzip),
            (XZ, 0, Format::Xz),
            (ZSTD, 0, Format::Zstd),
            (ZIP, 0, Format::Zip),
            (TAR, TAR_AT, Format::Tar),
        ]
        .into_iter()
        .find_map(|(magic, at, format)| self.has(magic, at).then_some(format))
        .or(is_zlib.then_some(Format::Zlib))
    }

    fn is_zlib(&self) -> bool {
        matches!(self.0.as_slice(), [first, second, ..]
            if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
    }

    /// Whether it may be a snapshot, packed or not.
    pub(super) fn may_be_a_snapshot(&self, file: &str) -> bool {
        let path = Path::new(file);
        let is_other = [OPENSHIFT, DELTA].iter().any(|other| name(path).starts_with(other));
        !is_other && (self.is_bbolt() || self.format(path).is_some())
    }

    /// Refuses files that are certainly something else.
    pub(super) fn refuse_foreign(&self, path: &Path) -> Result<()> {
        if self.is_bbolt() {
            return Ok(());
        }
        if name(path).starts_with(DELTA) {
            return Err(Error::not_a_source(
                path,
                "a delta snapshot of etcd-backup-restore (Gardener), which is not supported",
                "apply it with `etcdbrctl restore`, or name the full snapshot before it (Full-...), which lacks the deltas' changes",
            ));
        }
        match FOREIGN.iter().find(|(magic, ..)| self.has(magic, 0)) {
            Some((_, found, remedy)) => {
                let file = crate::files::quoted(path);
                Err(Error::not_a_source(path, *found, remedy.replace("FILE", &file)))
            }
            None => Ok(()),
        }
    }
}

/// The last component of a path.
pub(super) fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
