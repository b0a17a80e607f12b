//! The files that an `ssh_config` names. With `ssh -F`, OpenSSH looks at the owner of none of them.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{OwnershipError, ensure_own};

/// How deep files may include each other, as in OpenSSH.
const DEPTH: usize = 16;
/// Keywords whose values are files that say whom to trust and who we are.
const FILES: [&str; 4] = ["userknownhostsfile", "globalknownhostsfile", "identityfile", "certificatefile"];

/// Refuses an `ssh_config` that somebody else can change, with what it includes and the keys and known hosts it names.
///
/// # Errors
/// [`OwnershipError`].
pub fn ensure_ssh_config(path: &Path) -> Result<(), OwnershipError> {
    ensure(path, DEPTH)
}

fn ensure(path: &Path, depth: usize) -> Result<(), OwnershipError> {
    ensure_own(path)?;
    // What cannot be read ssh reports itself.
    let Ok(text) = fs::read_to_string(path) else { return Ok(()) };
    for line in text.lines() {
        let mut words = words(line).into_iter();
        let keyword = words.next().unwrap_or_default().to_lowercase();
        for file in words {
            if keyword == "include" && depth > 0 {
                for included in matching(&in_home(&file)) {
                    ensure(&included, depth - 1)?;
                }
            } else if FILES.contains(&keyword.as_str()) && !has_token(&file) {
                ensure_own(&in_home(&file))?;
            }
        }
    }
    Ok(())
}

/// The words of a line: a keyword and its values, which may stand behind `=` and in double quotes.
fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if !quoted && (letter.is_whitespace() || (letter == '=' && words.is_empty())) => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether a path depends on the machine that is connected to.
fn has_token(path: &str) -> bool {
    path.replace("%d", "").contains(['%', '$'])
}

/// Relative paths of a user's configuration lie in `~/.ssh`.
fn in_home(path: &str) -> PathBuf {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    match path.strip_prefix("~/").or_else(|| path.strip_prefix("%d/")) {
        Some(rest) => home.join(rest),
        None => home.join(".ssh").join(path),
    }
}

/// The files that a pattern with `*` and `?` in its last part stands for.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains(['*', '?', '[']) {
        return vec![pattern.into()];
    }
    let entries = pattern.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    // A set in brackets is taken to match: an additional check does no harm.
    let fits = |path: &PathBuf| {
        name.contains('[') || fits(&name, &path.file_name().unwrap_or_default().to_string_lossy())
    };
    paths.filter(fits).collect()
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = pattern.as_str();
            text.char_indices().map(|(at, _)| &text[at..]).chain([""]).any(|text| fits(rest, text))
        }
        Some(letter) => {
            let mut text = text.chars();
            text.next().is_some_and(|found| letter == '?' || letter == found)
                && fits(pattern.as_str(), text.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lines_are_read_as_ssh_reads_them() {
        assert_eq!(words(" IdentityFile=\"~/a b\" "), ["IdentityFile", "~/a b"]);
        assert_eq!(words("UserKnownHostsFile /a /b=c"), ["UserKnownHostsFile", "/a", "/b=c"]);
        assert_eq!(words("# Include x"), Vec::<String>::new());
        assert!(fits("*.conf", "a.conf") && fits("a?", "ab") && !fits("*.conf", "a.con") && !fits("?", ""));
    }

    #[test]
    fn a_file_that_it_names_and_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [config, keys, more] = ["ssh_config", "keys", "more.conf"].map(|name| dir.path().join(name));
        let at = dir.path().display();
        fs::write(&config, format!("Include {at}/*.conf\nHost *\n  GlobalKnownHostsFile /dev/null\n"))
            .unwrap();
        fs::write(&more, format!("UserKnownHostsFile = \"{at}/keys\"\nIdentityFile ~/%h\n")).unwrap();
        fs::write(&keys, "").unwrap();
        assert!(ensure_ssh_config(&config).is_ok());
        for file in [&keys, &more, &config] {
            let set = |mode| fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
            set(0o666);
            let refused = ensure_ssh_config(&config);
            assert!(
                matches!(&refused, Err(OwnershipError::Writable { path, .. }) if path == file),
                "{refused:?}"
            );
            set(0o600);
        }
    }
}
