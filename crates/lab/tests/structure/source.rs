//! What the source of a crate imports, outside of its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// A path in the code of a file, with the names that `use` gives resolved: `crate::source::Source`.
pub struct Import {
    /// From the root of the workspace.
    pub file: String,
    pub line: usize,
    /// Of the file.
    pub module: String,
    pub path: String,
}

/// The modules of a crate: the files and folders directly in `src`.
pub struct Crate {
    pub modules: BTreeSet<String>,
    pub imports: Vec<Import>,
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

impl Crate {
    pub fn read(name: &str) -> Self {
        let src = workspace().join("crates").join(name).join("src");
        let mut files = Vec::new();
        collect(&src, &mut files);
        let (roots, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_root(&src, file));
        let reexports: BTreeMap<String, String> = roots.iter().flat_map(|file| reexports(file)).collect();
        let paths = files.iter().map(|file| (file, modules_of(&src, file)));
        let imports = paths.clone().flat_map(|(file, path)| imports(file, &path, &reexports)).collect();
        Self { modules: paths.map(|(_, path)| path[0].clone()).collect(), imports }
    }
}

/// The files that are not only for tests, in order.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries.into_iter().filter(|path| path.file_stem().unwrap() != "tests") {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_root(src: &Path, file: &Path) -> bool {
    file.parent() == Some(src) && matches!(file.file_stem().unwrap().to_str(), Some("lib" | "main"))
}

/// `source`, `file` of `src/source/file.rs`.
fn modules_of(src: &Path, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    path.iter().map(|name| name.to_str().unwrap().to_owned()).collect()
}

/// Names that the root of a crate re-exports from a module, with their paths.
fn reexports(root: &Path) -> Vec<(String, String)> {
    let found = parse(root).uses.into_iter();
    found.map(|named| (named.name, named.path.trim_start_matches("crate::").to_owned())).collect()
}

fn imports(file: &Path, module: &[String], reexports: &BTreeMap<String, String>) -> Vec<Import> {
    let Code { uses, paths } = parse(file);
    let names: BTreeMap<String, String> =
        uses.iter().map(|named| (named.name.clone(), absolute(&named.path, module))).collect();
    let of_uses = uses.iter().map(|named| (named.line, absolute(&named.path, module)));
    let of_paths = paths.iter().map(|(line, path)| {
        let (first, rest) = path.split_once("::").unwrap();
        match names.get(first) {
            Some(full) => (*line, format!("{full}::{rest}")),
            None => (*line, absolute(path, module)),
        }
    });
    let relative = file.strip_prefix(workspace()).unwrap().display().to_string();
    let import = |(line, path): (usize, String)| Import {
        file: relative.clone(),
        line,
        module: module[0].clone(),
        path: defined_in(&path, reexports),
    };
    of_uses.chain(of_paths).map(import).collect()
}

/// Resolves `super` and `self`.
fn absolute(path: &str, module: &[String]) -> String {
    let mut base = module.to_vec();
    let mut rest = path;
    while let Some(after) = rest.strip_prefix("super::") {
        base.pop();
        rest = after;
    }
    let is_relative = rest.len() < path.len() || rest.starts_with("self::");
    let rest = rest.trim_start_matches("self::");
    if is_relative {
        format!("crate::{}", [base, vec![rest.into()]].concat().join("::"))
    } else {
        path.into()
    }
}

/// Where the root of the crate re-exports a name from.
fn defined_in(path: &str, reexports: &BTreeMap<String, String>) -> String {
    let name = path.strip_prefix("crate::").map(|rest| rest.split("::").next().unwrap());
    match name.and_then(|name| Some((name, reexports.get(name)?))) {
        Some((name, full)) => path.replacen(name, full, 1),
        None => path.into(),
    }
}

/// A name that a `use` gives to a path.
struct Named {
    line: usize,
    name: String,
    path: String,
}

/// The paths in a file, as they are written.
#[derive(Default)]
struct Code {
    uses: Vec<Named>,
    /// Those of two names or more, outside of `use`.
    paths: Vec<(usize, String)>,
}

fn parse(file: &Path) -> Code {
    let mut code = Code::default();
    code.read(&tokens(fs_err::read_to_string(file).unwrap().parse().unwrap()));
    code
}

fn tokens(stream: TokenStream) -> Vec<TokenTree> {
    stream.into_iter().collect()
}

impl Code {
    fn read(&mut self, mut rest: &[TokenTree]) {
        while let [token, after @ ..] = rest {
            rest = match token {
                TokenTree::Group(group) if group.stream().to_string() == "cfg (test)" => after_item(after),
                TokenTree::Group(group) => {
                    self.read(&tokens(group.stream()));
                    after
                }
                // `use<'a>` in a type is another thing.
                TokenTree::Ident(ident)
                    if ident == "use" && !after.first().is_some_and(|token| is(token, '<')) =>
                {
                    let length = after.iter().position(|token| is(token, ';')).unwrap_or(after.len());
                    self.read_use("", &after[..length]);
                    &after[length..]
                }
                TokenTree::Ident(first) => self.read_path(first, after),
                _ => after,
            };
        }
    }

    /// What follows a `use`, or what its braces hold after `prefix`.
    fn read_use(&mut self, prefix: &str, trees: &[TokenTree]) {
        for tree in trees.split(|token| is(token, ',')).filter(|tree| !tree.is_empty()) {
            let is_as = |token: &TokenTree| matches!(token, TokenTree::Ident(ident) if ident == "as");
            let (tree, rename) = tree.split_at(tree.iter().position(is_as).unwrap_or(tree.len()));
            let names =
                tree.iter().filter(|token| matches!(token, TokenTree::Ident(_))).map(ToString::to_string);
            let path: Vec<String> =
                (!prefix.is_empty()).then(|| prefix.into()).into_iter().chain(names).collect();
            let path = path.join("::");
            match tree.last() {
                Some(TokenTree::Group(group)) => self.read_use(&path, &tokens(group.stream())),
                _ => {
                    let path = path.trim_end_matches("::self").to_owned();
                    let name = rename.last().map_or_else(|| last(&path), ToString::to_string);
                    self.uses.push(Named { line: tree[0].span().start().line, name, path });
                }
            }
        }
    }

    /// A path that begins with a name; returns what follows it.
    fn read_path<'a>(&mut self, first: &Ident, mut rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let mut path = first.to_string();
        while let [a, b, TokenTree::Ident(next), after @ ..] = rest
            && is(a, ':')
            && is(b, ':')
        {
            path += &format!("::{next}");
            rest = after;
        }
        if path.contains("::") {
            self.paths.push((first.span().start().line, path));
        }
        rest
    }
}

fn last(path: &str) -> String {
    path.rsplit("::").next().unwrap().into()
}

fn is(token: &TokenTree, punctuation: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == punctuation)
}

/// What follows an item, which ends with its body or a semicolon.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is(token, ';'),
    };
    tokens.iter().position(ends).map_or(&[], |end| &tokens[end + 1..])
}
