//! The changes that `lifeboat` makes below a directory, as strace sees it make them.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::peers::Unavailable;

/// Every call that changes files, and those that move the position they are written at. One of them that is met and not
/// understood fails the test.
const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,read,readv,write,writev,pwrite64,pwritev,pwritev2,lseek,\
                     truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,\
                     symlink,symlinkat,unlink,unlinkat,rmdir,copy_file_range,sendfile,splice";

/// A change, or a wait for changes to be on the disk.
pub enum Op {
    CreateDir(PathBuf),
    CreateFile(PathBuf),
    Write {
        path: PathBuf,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Makes a file this long at least.
    Extend(PathBuf, u64),
    Truncate(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// A sync is asked for: it is about what is there now.
    BeginSync(PathBuf),
    /// It has come back.
    EndSync(PathBuf),
}

impl Op {
    /// The half of a write that reaches the disk when the power fails within it.
    pub fn torn(&self) -> Option<Self> {
        let Self::Write { path, offset, bytes } = self else { return None };
        Some(Self::Write { path: path.clone(), offset: *offset, bytes: bytes[..bytes.len() / 2].into() })
    }

    /// Whether it syncs files or directories of this name.
    pub fn syncs(&self, name: &str) -> bool {
        matches!(self, Self::BeginSync(path) | Self::EndSync(path) if path.ends_with(name))
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDir(path) => write!(f, "create directory {}", path.display()),
            Self::CreateFile(path) => write!(f, "create {}", path.display()),
            Self::Write { path, offset, bytes } => {
                write!(f, "write {} bytes at {offset} of {}", bytes.len(), path.display())
            }
            Self::Extend(path, size) => write!(f, "extend {} to {size}", path.display()),
            Self::Truncate(path, size) => write!(f, "truncate {} to {size}", path.display()),
            Self::Rename(from, to) => write!(f, "rename {} to {}", from.display(), to.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::BeginSync(path) => write!(f, "begin to sync {}", path.display()),
            Self::EndSync(path) => write!(f, "end syncing {}", path.display()),
        }
    }
}

/// Runs `lifeboat` and returns what it changed below `root`. Its arguments must be absolute paths.
pub fn record(root: &Path, args: &[String]) -> Result<Vec<Op>, Unavailable> {
    if Command::new("strace").arg("--version").output().is_err() {
        return Err(Unavailable { what: "strace".into(), why: "install the package of that name".into() });
    }
    let log = root.with_file_name("strace.log");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-s", "100000000", "-e", &format!("trace={CALLS}"), "-o"]).arg(&log);
    let output = command.arg(env!("CARGO_BIN_EXE_lifeboat")).args(args).output().expect("run strace");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Reader { root: root.into(), ..Reader::default() }.read(&fs_err::read_to_string(log).unwrap()))
}

/// Reads the lines of a log.
#[derive(Default)]
struct Reader {
    root: PathBuf,
    /// Position of every open file.
    positions: HashMap<String, u64>,
    /// The beginnings of calls that others have interrupted, by thread.
    unfinished: HashMap<String, String>,
    ops: Vec<Op>,
}

impl Reader {
    fn read(mut self, log: &str) -> Vec<Op> {
        for line in log.lines() {
            let (thread, line) = line.trim_end().split_once(' ').expect("a thread's id");
            let line = line.trim_start();
            if let Some(begun) = line.strip_suffix("<unfinished ...>") {
                self.begin(begun);
                self.unfinished.insert(thread.into(), begun.into());
            } else if let Some((_, rest)) = line.strip_prefix("<... ").and_then(|l| l.split_once("resumed>"))
            {
                let begun = self.unfinished.remove(thread).expect("the call that is resumed");
                self.end(&format!("{begun}{rest}"));
            } else if line.contains('(') {
                self.begin(line);
                self.end(line);
            }
        }
        self.ops
    }

    fn begin(&mut self, call: &str) {
        let (name, arguments) = call.split_once('(').expect("a call");
        if matches!(name, "fsync" | "fdatasync") {
            let end = arguments.find('>').expect("a file");
            self.op(Op::BeginSync, open_file(&arguments[..=end]));
        }
    }

    /// A call with its result. One that has failed has changed nothing.
    fn end(&mut self, call: &str) {
        let (name, rest) = call.split_once('(').expect("a call");
        let (arguments, result) = rest.rsplit_once(" = ").expect("a result");
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let arguments = arguments.trim_end().strip_suffix(')').expect("the end of the arguments");
        let arguments: Vec<&str> = arguments.split(", ").map(str::trim).collect();
        self.changed(name, &arguments, result);
    }

    fn changed(&mut self, name: &str, arguments: &[&str], result: &str) {
        let count = || result.parse::<u64>().expect("a count");
        let number = |at: usize| arguments[at].parse::<u64>().expect("a number");
        match name {
            "openat" => self.opened(arguments[2], result),
            "mkdir" => self.op(Op::CreateDir, text(arguments[0])),
            "read" => self.advance(arguments[0], count()),
            "lseek" => drop(self.positions.insert(arguments[0].into(), count())),
            "write" => {
                let offset = self.positions.get(arguments[0]).copied().unwrap_or(0);
                self.wrote(arguments, offset, count());
                self.advance(arguments[0], count());
            }
            "pwrite64" => self.wrote(arguments, number(3), count()),
            "ftruncate" => self.op(|path| Op::Truncate(path, number(1)), open_file(arguments[0])),
            "fallocate" => {
                assert_eq!(arguments[1], "0", "how it reserves");
                self.op(|path| Op::Extend(path, number(2) + number(3)), open_file(arguments[0]));
            }
            "fsync" | "fdatasync" => self.op(Op::EndSync, open_file(arguments[0])),
            "rename" => {
                let to = text(arguments[1]).expect("a path");
                self.op(|from| Op::Rename(from, to), text(arguments[0]));
            }
            "renameat2" | "renameat" | "linkat" | "unlinkat" => {
                let both = [arguments[1], arguments.get(3).copied().unwrap_or_default()];
                self.at(name, both.map(text));
            }
            "unlink" | "rmdir" => self.op(Op::Remove, text(arguments[0])),
            _ => {
                let ours = arguments.iter().any(|argument| {
                    [open_file(argument), text(argument)]
                        .into_iter()
                        .flatten()
                        .any(|path| self.is_ours(&path))
                });
                assert!(!ours, "a call that is not understood: {name}({arguments:?})");
            }
        }
    }

    /// Calls that take a directory beside each path: the paths are absolute.
    fn at(&mut self, name: &str, [first, second]: [Option<PathBuf>; 2]) {
        match (name, second) {
            ("unlinkat", _) => self.op(Op::Remove, first),
            ("renameat" | "renameat2", Some(to)) => self.op(|from| Op::Rename(from, to), first),
            (_, second) => {
                let ours = first.into_iter().chain(second).any(|path| self.is_ours(&path));
                assert!(!ours, "a call that is not understood: {name}");
            }
        }
    }

    fn opened(&mut self, flags: &str, result: &str) {
        self.positions.insert(result.into(), 0);
        let path = || open_file(result);
        assert!(!path().is_some_and(|path| self.is_ours(&path)) || !flags.contains("O_APPEND"), "{flags}");
        if flags.contains("O_CREAT") {
            self.op(Op::CreateFile, path());
        }
        if flags.contains("O_TRUNC") {
            self.op(|path| Op::Truncate(path, 0), path());
        }
    }

    fn advance(&mut self, file: &str, count: u64) {
        *self.positions.entry(file.into()).or_default() += count;
    }

    fn wrote(&mut self, arguments: &[&str], offset: u64, count: u64) {
        let bytes = || unescaped(arguments[1])[..usize::try_from(count).unwrap()].to_vec();
        self.op(|path| Op::Write { path, offset, bytes: bytes() }, open_file(arguments[0]));
    }

    fn op(&mut self, op: impl FnOnce(PathBuf) -> Op, path: Option<PathBuf>) {
        self.ops.extend(path.filter(|path| self.is_ours(path)).map(op));
    }

    fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }
}

/// The path of `3<\x2f\x64>`.
fn open_file(argument: &str) -> Option<PathBuf> {
    let (_, path) = argument.split_once('<')?;
    Some(String::from_utf8(unescaped(path.strip_suffix('>')?)).ok()?.into())
}

/// The path `"\x2f\x64"`.
fn text(argument: &str) -> Option<PathBuf> {
    argument.starts_with('"').then(|| String::from_utf8(unescaped(argument)).expect("a path").into())
}

/// Bytes that are all written as `\xff`.
fn unescaped(text: &str) -> Vec<u8> {
    let digits = text.trim_matches('"').split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("two digits")).collect()
}
