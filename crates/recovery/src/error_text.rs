//! One-line texts of errors with their causes, and of machines' messages.

use std::error::Error;

/// Maximum length of a text; a machine's message is untrusted.
const LONGEST: usize = 400;

/// Texts of libraries, and what we show instead.
const PLAINER: [(&str, &str); 3] = [
    ("ServiceError: client error (Connect): ", "connect: "),
    ("deadline has elapsed", "timed out"),
    ("ApiError: ", ""),
];

/// Where `kube` repeats an API server's refusal as a Rust structure.
const STRUCTURE: &str = " (Status {";

/// An error with everything under it that its own text does not say already.
pub(crate) fn of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.find(STRUCTURE).unwrap_or(text.len()));
    let mut under = error.source();
    while let Some(cause) = under {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        under = cause.source();
    }
    one_line(&PLAINER.iter().fold(text, |text, (from, to)| text.replace(from, to)))
}

/// Text for display: one line, no control characters, limited length.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_cannot_move_the_cursor() {
        assert_eq!(one_line(" a\u{1b}[2J\r\nb\tc \0"), "a [2J b c");
        assert_eq!(one_line(&"x".repeat(10_000)).len(), LONGEST);
    }

    #[test]
    fn an_error_is_told_to_its_bottom_and_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("connect: refused")]
        struct Bottom;
        #[derive(Debug, thiserror::Error)]
        #[error("m1: {0}")]
        struct Middle(#[source] Bottom);
        #[derive(Debug, thiserror::Error)]
        #[error("ask")]
        struct Top(#[source] Middle);
        assert_eq!(of(&Top(Middle(Bottom))), "ask: m1: connect: refused");
    }

    #[test]
    fn a_refusal_of_the_api_is_told_once() {
        let refusal = kube::core::Status::failure("nodes is forbidden", "Forbidden").with_code(403).boxed();
        assert_eq!(of(&kube::Error::Api(refusal)), "nodes is forbidden: Forbidden");
    }
}
