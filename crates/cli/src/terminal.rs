//! Escapes what is printed. Verbs print names, values and messages from machines, files, etcd and clouds: an escape
//! sequence in one could write to the clipboard, hide lines or type into the shell, and a bidirectional control could
//! show a different text. All output of the program goes through here; clippy denies any other.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

/// The sequences of `styles::Styles`, the only ones that pass, and only if styles are on.
const STYLES: [&str; 6] = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];

/// Escapes control characters including line breaks, and bytes that are not UTF-8: text in one line that cannot
/// control a terminal.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    escape(bytes, &mut text, |character| character.is_control() || is_invisible(character), Escape::Rust);
    text
}

/// As [`printable`], but keeps line breaks and tabs.
pub fn printable_lines(text: &str) -> String {
    let mut escaped = String::new();
    escape(text.as_bytes(), &mut escaped, is_unsafe, Escape::Rust);
    escaped
}

/// Prints a line on stderr.
#[expect(clippy::print_stderr, reason = "the only place")]
pub fn stderr_line(line: fmt::Arguments<'_>) {
    eprintln!("{}", printable_lines(&line.to_string()));
}

/// Prints a line that the next one replaces, on a terminal.
#[expect(clippy::print_stderr, reason = "the only place")]
pub fn stderr_replace_line(line: &str) {
    eprint!("{CLEAR_LINE}{}", printable(line.as_bytes()));
}

/// Prints a question on stderr, without a line break.
#[expect(clippy::print_stderr, reason = "the only place")]
pub fn stderr_prompt(question: &str) {
    eprint!("{}", printable(question.as_bytes()));
    let _ = io::stderr().flush();
}

/// Reads a line that the terminal does not echo.
pub fn read_password(question: &str) -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&stdin, OptionalActions::Now, &hidden)?;
    stderr_prompt(question);
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &shown)?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Clears the line of [`stderr_replace_line`].
#[expect(clippy::print_stderr, reason = "the only place")]
pub fn stderr_clear_line() {
    eprint!("{CLEAR_LINE}");
}

const CLEAR_LINE: &str = "\r\x1b[K";

/// Escape syntax for characters that cannot be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `\u{1b}`, and `\x80` for a byte that is not UTF-8.
    Rust,
    /// `\u001b`, an escape that JSON and YAML strings decode.
    Json,
}

/// A writer that escapes what could control a terminal.
pub struct Filter<W> {
    out: W,
    escape: Escape,
    styles: bool,
}

impl<W: Write> Filter<W> {
    /// Passes our own styles if `styles` is set.
    pub fn new(out: W, escape: Escape, styles: bool) -> Self {
        Self { out, escape, styles }
    }
}

impl<W: Write> Write for Filter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        let mut text = String::new();
        while !rest.is_empty() {
            let style = STYLES.iter().find(|style| self.styles && rest.starts_with(style.as_bytes()));
            if let Some(style) = style {
                text.push_str(style);
                rest = &rest[style.len()..];
                continue;
            }
            // Not one of our styles: escape up to the next sequence.
            let next = rest.iter().skip(1).position(|byte| *byte == 0x1b).map_or(rest.len(), |at| at + 1);
            escape(&rest[..next], &mut text, is_unsafe, self.escape);
            rest = &rest[next..];
        }
        self.out.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn escape(bytes: &[u8], text: &mut String, is_escaped: impl Fn(char) -> bool, syntax: Escape) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match syntax {
                _ if !is_escaped(character) => text.push(character),
                Escape::Rust => text.extend(character.escape_default()),
                Escape::Json => {
                    let _ = write!(text, "\\u{:04x}", u32::from(character));
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}

fn is_unsafe(character: char) -> bool {
    (character.is_control() && !matches!(character, '\n' | '\t')) || is_invisible(character)
}

/// An invisible character that reorders or breaks the text around it (Unicode's bidirectional controls, line and
/// paragraph separators).
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clipboard, colour, title, C1's form of both, a bidirectional override, a bell, a backspace, a byte that is not
    /// UTF-8.
    const HOSTILE: &[u8] =
        b"\x1b]52;c;Y3VybA==\x07 \x1b[31mred \x1b[2J \xc2\x9b31m \xc2\x9d0;t\xc2\x9c \xe2\x80\xaeabc \x08\r\x7f \xff";

    fn filtered(bytes: &[u8], escape: Escape, styles: bool) -> String {
        let mut out = Vec::new();
        Filter::new(&mut out, escape, styles).write_all(bytes).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn is_harmless(text: &str) -> bool {
        !text.chars().any(|character| is_unsafe(character) && character != '\n')
    }

    #[test]
    fn control_characters_are_escaped() {
        for text in [
            printable(HOSTILE),
            printable_lines(&String::from_utf8_lossy(HOSTILE)),
            filtered(HOSTILE, Escape::Rust, false),
            filtered(HOSTILE, Escape::Json, false),
        ] {
            assert!(is_harmless(&text), "{text:?}");
            assert!(text.contains("abc"), "{text:?}");
        }
        assert_eq!(printable(b"a\nb\t\x1b[0m"), "a\\nb\\t\\u{1b}[0m");
        assert_eq!(printable_lines("a\nb\t\x1b[0m"), "a\nb\t\\u{1b}[0m");
        assert_eq!(printable("Größe 名前".as_bytes()), "Größe 名前");
    }

    #[test]
    fn only_our_styles_pass_and_only_if_enabled() {
        let styled = "\x1b[1m\x1b[31mbad\x1b[0m \x1b[8mhidden\x1b[0m\n";
        assert_eq!(
            filtered(styled.as_bytes(), Escape::Rust, true),
            "\x1b[1m\x1b[31mbad\x1b[0m \\u{1b}[8mhidden\x1b[0m\n"
        );
        assert!(is_harmless(&filtered(styled.as_bytes(), Escape::Rust, false)));
    }

    #[test]
    fn escaped_json_decodes_to_the_same_value() {
        let value = String::from_utf8_lossy(HOSTILE).into_owned();
        let json = serde_json::to_string_pretty(&[&value]).unwrap();
        let json = filtered(json.as_bytes(), Escape::Json, false);
        assert!(is_harmless(&json), "{json:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [value]);
    }
}
