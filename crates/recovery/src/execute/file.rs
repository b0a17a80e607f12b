//! Reads configuration files on machines and replaces them atomically.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::host::Command;

use super::context::Context;
use super::error::StepError;

/// Maximum size of a unit file or manifest.
const LIMIT: usize = 1 << 20;

/// Puts standard input in the place of `$1`, whose SHA-256 must still be `$2` (`-`: whatever it was), and prints the
/// SHA-256 of what is there then. Owner, mode, ACL and label stay; a file that is new is root's, 0644.
const REPLACE: &str = r#"
set -eu
path=$1 expected=$2
dir=${path%/*}
mkdir -p "$dir"
if [ "$expected" != - ]; then
    found=$(sha256sum < "$path")
    if [ "${found%% *}" != "$expected" ]; then echo "$path was changed by somebody else meanwhile" >&2; exit 65; fi
fi
part=$(mktemp "$dir/.lifeboat-edit.XXXXXX")
trap 'rm -f "$part"' EXIT
trap 'exit 1' HUP INT PIPE TERM
if [ -e "$path" ]; then
    cp --attributes-only --preserve=all -- "$path" "$part" 2>/dev/null || {
        chown "$(stat -c %u:%g "$path")" "$part"
        chmod "$(stat -c %a "$path")" "$part"
    }
else
    chmod 0644 "$part"
fi
cat > "$part"
sync "$part"
mv -f "$part" "$path"
sync "$dir"
sha256sum < "$path"
"#;

/// Prints the path of the first of `$2`, `$3`, ... that is there, and `$1` bytes of what is in it.
const READ_FIRST: &str = r#"
limit=$1; shift
for path in "$@"; do
    if [ -e "$path" ]; then printf '%s\n' "$path"; exec head -c "$limit" -- "$path"; fi
done
echo "none of these is there: $*" >&2
exit 66
"#;

/// The first of these files that is there, and its text.
pub(super) async fn read_first(
    context: &Context<'_>,
    host: &str,
    paths: &[&Path],
) -> Result<(PathBuf, String), StepError> {
    let limit = (LIMIT + 1).to_string();
    let paths = paths.iter().map(|path| path.display().to_string());
    let command = Command::script(READ_FIRST, std::iter::once(limit).chain(paths));
    let output = context.host(host)?.run_ok(&command).await?;
    let unfit = |why: &str| StepError::Fatal(format!("{host}: a manifest or unit {why}"));
    let text = String::from_utf8(output.stdout).map_err(|_| unfit("is not text"))?;
    let (path, text) = text.split_once('\n').ok_or_else(|| unfit("cannot be read"))?;
    if text.len() > LIMIT {
        return Err(unfit("is larger than 1 MiB"));
    }
    Ok((path.into(), text.to_owned()))
}

/// Replaces a file at once or not at all, if it is still what was read, and makes sure that it is there as written.
pub(super) async fn replace(
    context: &Context<'_>,
    host: &str,
    path: &Path,
    old: Option<&str>,
    new: &str,
) -> Result<(), StepError> {
    let path = path.display().to_string();
    let expected = old.map_or_else(|| "-".to_owned(), digest);
    let command = Command::inline(REPLACE, [path.as_str(), expected.as_str()]).reading(new.as_bytes());
    let found = context.change(host, command).await?.text();
    if found.split_whitespace().next() != Some(&digest(new)) {
        return Err(StepError::Fatal(format!("{host}: {path} does not read back as it was written")));
    }
    Ok(())
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use fs_err as fs;

    use super::*;
    use crate::host::{Host, LocalHost};

    /// `true` when the script succeeded.
    async fn run(path: &Path, expected: &str, new: &str) -> bool {
        let path = path.display().to_string();
        let command = Command::inline(REPLACE, [path.as_str(), expected]).reading(new.as_bytes());
        LocalHost::new("here").run(&command).await.unwrap().success()
    }

    #[tokio::test]
    async fn owner_and_mode_stay_and_what_was_changed_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.yaml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let owned = std::os::unix::fs::chown(&path, Some(12345), Some(54321)).is_ok();
        assert!(!run(&path, &digest("other"), "new").await);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert!(run(&path, &digest("old"), "new\n& | % $(id)").await);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n& | % $(id)");
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o600);
        assert!(!owned || (found.uid(), found.gid()) == (12345, 54321));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let fresh = dir.path().join("etcd.service.d/50.conf");
        assert!(run(&fresh, "-", "[Service]").await);
        assert_eq!(fs::metadata(&fresh).unwrap().mode() & 0o7777, 0o644);
    }
}
