//! Unit files of systemd.

use super::Flag;

/// Wrappers that parse the flags behind the program they run as their own.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "busybox"];

/// A drop-in that starts what a unit starts with further flags behind it. `text` is what `systemctl cat` prints; a file of
/// it that is called `own` is left out: an earlier run wrote it.
///
/// # Errors
/// Why appending flags to its command line would not work.
pub(super) fn drop_in(text: &str, own: &str, flags: &[Flag<'_>]) -> Result<String, String> {
    let commands = exec_start(text, own);
    let [command] = commands.as_slice() else {
        return Err(format!("it has {} lines ExecStart, not one", commands.len()));
    };
    let words = words(command.trim_start_matches(['@', '-', ':', '+', '!', '|']));
    let program = words.first().map(|word| word.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
    if SHELLS.contains(&program) {
        return Err(format!("it starts etcd through {program}, which takes no flags for it"));
    }
    let is_file = |word: &&String| word.trim_start_matches('-').split('=').next() == Some("config-file");
    if words.iter().any(|word| is_file(&word)) {
        return Err("it uses --config-file, so etcd ignores flags".into());
    }
    let flags = flags.iter().map(|(name, value)| quoted(&format!("--{name}={value}")));
    let flags = flags.collect::<Vec<_>>().join(" ");
    Ok(format!("[Service]\nExecStart=\nExecStart={command} {flags}\n"))
}

/// The values of `ExecStart` that count, each on one line: an empty one takes back those before it.
fn exec_start(text: &str, own: &str) -> Vec<String> {
    let (mut commands, mut section, mut is_own) = (Vec::new(), String::new(), false);
    let (mut lines, mut before) = (text.lines(), "");
    while let Some(line) = lines.next() {
        // systemctl begins each file with its path, behind an empty line.
        let is_file = before.trim().is_empty() && (line.ends_with(".service") || line.ends_with(".conf"));
        if let Some(file) = line.strip_prefix("# /").filter(|_| is_file) {
            is_own = file.rsplit('/').next() == Some(own);
            section.clear();
        }
        before = line;
        let mut line = line.trim().to_owned();
        if line.starts_with(['#', ';']) || is_own {
            continue;
        }
        while let Some(begun) = line.strip_suffix('\\') {
            let is_comment = |next: &&str| next.trim_start().starts_with(['#', ';']);
            let next = lines.find(|next| !is_comment(next)).unwrap_or_default();
            line = format!("{} {}", begun.trim_end(), next.trim());
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = line.split_once('=')
            && section == "Service"
            && key.trim() == "ExecStart"
        {
            match value.trim() {
                "" => commands.clear(),
                value => commands.push(value.to_owned()),
            }
        }
    }
    commands
}

/// The words of a command line, without their quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => word.extend(letters.next()),
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => (quote, begun) = (Some(letter), true),
            (letter, None) if letter.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (letter, _) => word.push(letter),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

/// One word of a command line that stands for exactly this text: `%` and `$` mean nothing, quotes and backslashes neither.
fn quoted(text: &str) -> String {
    let mut word = String::from("\"");
    for letter in text.chars() {
        match letter {
            '%' => word.push_str("%%"),
            '$' => word.push_str("$$"),
            '"' | '\\' => word.extend(['\\', letter]),
            '\n' => word.push_str("\\n"),
            letter if letter.is_control() => word.push_str(&format!("\\x{:02x}", u32::from(letter))),
            letter => word.push(letter),
        }
    }
    word.push('"');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag<'_>; 2] =
        [("initial-cluster-state", "existing"), ("initial-cluster", "a=https://h:1")];
    const ADDED: &str = r#""--initial-cluster-state=existing" "--initial-cluster=a=https://h:1""#;

    fn of(text: &str) -> Result<String, String> {
        drop_in(text, "50-lifeboat-join.conf", &FLAGS)
    }

    #[test]
    fn flags_go_behind_the_command_line_that_counts() {
        let text = "# /etc/systemd/system/etcd.service\n[Unit]\nExecStart=no\n[Service]\nType=notify\n\
                    ExecStart=/usr/bin/old\n# /usr/bin/old is old\nExecStart=\n  ExecStart = -/usr/local/bin/etcd \\\n  # why\n  --name=a \\\n    \
                    --data-dir \"/var/lib/etcd\"\n\n# /etc/systemd/system/etcd.service.d/10-x.conf\nExecStart=/no/section\n";
        let expected = format!(
            "[Service]\nExecStart=\nExecStart=-/usr/local/bin/etcd --name=a --data-dir \"/var/lib/etcd\" {ADDED}\n"
        );
        assert_eq!(of(text).unwrap(), expected);
        // Written by an earlier run.
        let again = format!("{text}\n# /run/systemd/system/etcd.service.d/50-lifeboat-join.conf\n{expected}");
        assert_eq!(of(&again).unwrap(), expected);
    }

    #[test]
    fn what_takes_no_flags_is_refused() {
        for (text, why) in [
            ("[Service]\nExecStart=/bin/bash -c \"GOMAXPROCS=$(nproc) /usr/bin/etcd\"", "through bash"),
            ("[Service]\nExecStart=etcd --config-file /etc/etcd.yml", "--config-file"),
            ("[Service]\nExecStart=etcd -config-file=/etc/etcd.yml", "--config-file"),
            ("[Service]\nExecStart=", "0 lines"),
            ("[Service]\nExecStart=a\nExecStart=b", "2 lines"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_word_stands_for_itself() {
        assert_eq!(quoted("a%n$HOME\"\\\n\u{1b}"), r#""a%%n$$HOME\"\\\n\x1b""#);
        assert_eq!(words(r#"a "b c" 'd' "" \"e"#), ["a", "b c", "d", "", "\"e"]);
    }
}
