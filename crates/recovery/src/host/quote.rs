//! Text as one word of a POSIX shell.

/// One word of a shell, that stands for exactly this text.
pub(super) fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/,.+:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Words of a shell, in one line.
pub(super) fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_the_same_words() {
        let words = [
            "",
            "plain/word-1.2",
            "two words",
            "it's",
            "$HOME `id` \"x\"",
            "a\nb\\",
            "*",
            "~",
            "!!",
            "#",
            "-n",
        ];
        let script = format!("printf '%s\\0' {}", line(words));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let read = String::from_utf8(output.stdout).unwrap();
        assert_eq!(read.split_terminator('\0').collect::<Vec<_>>(), words);
    }
}
