//! A disk that may keep everything and must keep what was synced, no more.
//!
//! Each file and each directory is on the disk as it is now, or still as its last sync left it, whatever the others
//! are: a rename without its data, data without its name, and all else that file systems have been seen to show.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use crate::record::Op;

type Inode = usize;
const ROOT: Inode = 0;

#[derive(Clone, PartialEq)]
enum Content {
    Dir(BTreeMap<OsString, Inode>),
    /// Bytes without the zeros behind them, and the size.
    File(Vec<u8>, u64),
}

/// What a path is to hold.
#[derive(PartialEq)]
pub enum Tree {
    Dir(BTreeMap<OsString, Tree>),
    File(Vec<u8>, u64),
}

impl Tree {
    pub fn read(path: &Path) -> Self {
        if path.is_dir() {
            let entries = path.read_dir().unwrap().map(Result::unwrap);
            Self::Dir(entries.map(|entry| (entry.file_name(), Self::read(&entry.path()))).collect())
        } else {
            let bytes = fs_err::read(path).unwrap();
            let size = bytes.len() as u64;
            Self::File(without_zeros(bytes), size)
        }
    }
}

fn without_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

/// An inode as it is, as the disk has it for sure, and as it was when syncs that have not come back were asked for.
struct Node {
    now: Content,
    kept: Content,
    syncing: Option<Content>,
}

impl Node {
    fn new(now: Content, kept: Content) -> Self {
        Self { now, kept, syncing: None }
    }

    fn either(&self) -> [&Content; 2] {
        [&self.now, &self.kept]
    }
}

pub struct Disk {
    nodes: Vec<Node>,
}

impl Default for Disk {
    fn default() -> Self {
        let empty = || Content::Dir(BTreeMap::new());
        Self { nodes: vec![Node::new(empty(), empty())] }
    }
}

impl Disk {
    pub fn apply(&mut self, op: &Op, root: &Path) {
        let relative = |path: &Path| path.strip_prefix(root).expect("below the root").to_path_buf();
        match op {
            Op::CreateDir(path) => self.create(&relative(path), Content::Dir(BTreeMap::new())),
            Op::CreateFile(path) => self.create(&relative(path), Content::File(Vec::new(), 0)),
            Op::Write { path, offset, bytes } => self.file(&relative(path), |old, size| {
                let end = *offset + bytes.len() as u64;
                let (start, stop) = (usize::try_from(*offset).unwrap(), usize::try_from(end).unwrap());
                old.resize(old.len().max(stop), 0);
                old[start..stop].copy_from_slice(bytes);
                *size = (*size).max(end);
            }),
            Op::Extend(path, least) => self.file(&relative(path), |_, size| *size = (*size).max(*least)),
            Op::Truncate(path, to) => self.file(&relative(path), |bytes, size| {
                bytes.truncate(usize::try_from(*to).unwrap());
                *size = *to;
            }),
            Op::Rename(from, to) => {
                let moved = self.unlink(&relative(from));
                self.link(&relative(to), moved);
            }
            Op::Remove(path) => drop(self.unlink(&relative(path))),
            Op::BeginSync(path) => {
                let inode = self.inode(&relative(path));
                self.nodes[inode].syncing = Some(self.nodes[inode].now.clone());
            }
            Op::EndSync(path) => {
                let inode = self.inode(&relative(path));
                self.nodes[inode].kept = self.nodes[inode].syncing.take().expect("a sync that was begun");
            }
        }
    }

    fn create(&mut self, path: &Path, content: Content) {
        let Content::Dir(parent) = &self.nodes[self.parent(path)].now else { panic!("no directory") };
        if parent.contains_key(path.file_name().unwrap()) {
            return;
        }
        self.nodes.push(Node::new(content.clone(), content));
        self.link(path, self.nodes.len() - 1);
    }

    fn link(&mut self, path: &Path, inode: Inode) {
        let name = path.file_name().unwrap().to_owned();
        self.entries(path).insert(name, inode);
    }

    fn unlink(&mut self, path: &Path) -> Inode {
        let name = path.file_name().unwrap();
        self.entries(path).remove(name).expect("an entry")
    }

    /// The entries of the directory that a path is in.
    fn entries(&mut self, path: &Path) -> &mut BTreeMap<OsString, Inode> {
        let parent = self.parent(path);
        let Content::Dir(entries) = &mut self.nodes[parent].now else { panic!("no directory") };
        entries
    }

    fn file(&mut self, path: &Path, change: impl FnOnce(&mut Vec<u8>, &mut u64)) {
        let inode = self.inode(path);
        let Content::File(bytes, size) = &mut self.nodes[inode].now else { panic!("no file") };
        change(bytes, size);
        *bytes = without_zeros(std::mem::take(bytes));
    }

    fn parent(&self, path: &Path) -> Inode {
        self.inode(path.parent().unwrap())
    }

    fn inode(&self, path: &Path) -> Inode {
        path.iter().fold(ROOT, |dir, name| match &self.nodes[dir].now {
            Content::Dir(entries) => *entries.get(name).unwrap_or_else(|| panic!("no {}", path.display())),
            Content::File(..) => panic!("{} is below a file", path.display()),
        })
    }

    /// Everything that a path could lead to after a power loss.
    fn could_be(&self, path: &Path) -> BTreeSet<Inode> {
        path.iter().fold(BTreeSet::from([ROOT]), |dirs, name| {
            let contents = dirs.iter().flat_map(|dir| self.nodes[*dir].either());
            contents.filter_map(|content| entry(content, name)).collect()
        })
    }

    /// Why a path might not hold what it should.
    pub fn not_whole(&self, path: &Path, whole: &Tree) -> Option<String> {
        self.could_be(path).into_iter().find_map(|inode| self.differs(inode, whole, path))
    }

    fn differs(&self, inode: Inode, whole: &Tree, path: &Path) -> Option<String> {
        self.nodes[inode].either().into_iter().find_map(|content| match (content, whole) {
            (Content::File(bytes, size), Tree::File(expected, length))
                if (bytes, size) == (expected, length) =>
            {
                None
            }
            (Content::Dir(entries), Tree::Dir(expected)) if entries.keys().eq(expected.keys()) => {
                let mut pairs = entries.iter().zip(expected.values());
                pairs.find_map(|((name, child), tree)| self.differs(*child, tree, &path.join(name)))
            }
            _ => Some(format!("{} could be there and be something else", path.display())),
        })
    }

    /// Whether a path is there for sure.
    pub fn is_kept(&self, path: &Path) -> bool {
        let mut dirs = BTreeSet::from([ROOT]);
        for name in path {
            let contents = dirs.iter().flat_map(|dir| self.nodes[*dir].either());
            let next: Option<BTreeSet<Inode>> = contents.map(|content| entry(content, name)).collect();
            let Some(next) = next else { return false };
            dirs = next;
        }
        true
    }
}

fn entry(content: &Content, name: &std::ffi::OsStr) -> Option<Inode> {
    match content {
        Content::Dir(entries) => entries.get(name).copied(),
        Content::File(..) => None,
    }
}
