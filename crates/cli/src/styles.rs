//! Colours, if stdout is a terminal and `NO_COLOR` and the like allow them.

use std::fmt;
use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use lifeboat_recovery::finding::Severity;

/// Styles for text on stdout.
#[derive(Debug, Clone, Copy)]
pub struct Styles {
    on: bool,
}

impl Styles {
    /// Styles for stdout as it is, on or off.
    pub fn stdout() -> Self {
        Self { on: AutoStream::choice(&io::stdout()) != ColorChoice::Never }
    }

    /// Whether text is styled at all.
    pub fn is_on(self) -> bool {
        self.on
    }

    /// Text in the colour of a severity.
    pub fn severity<T: fmt::Display>(self, severity: Severity, text: T) -> Styled<T> {
        let colour = match severity {
            Severity::Warning => AnsiColor::Yellow,
            Severity::Error | Severity::Critical => AnsiColor::Red,
        };
        let style = colour.on_default();
        self.styled(if severity == Severity::Critical { style.bold() } else { style }, text)
    }

    /// Text about a healthy state.
    pub fn good<T: fmt::Display>(self, text: T) -> Styled<T> {
        self.styled(AnsiColor::Green.on_default(), text)
    }

    /// Emphasized text.
    pub fn strong<T: fmt::Display>(self, text: T) -> Styled<T> {
        self.styled(Style::new().bold(), text)
    }

    /// De-emphasized text.
    pub fn dim<T: fmt::Display>(self, text: T) -> Styled<T> {
        self.styled(Style::new().dimmed(), text)
    }

    fn styled<T>(self, style: Style, text: T) -> Styled<T> {
        Styled { style: if self.on { style } else { Style::new() }, text }
    }
}

/// Text with its style.
pub struct Styled<T> {
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:#}", self.style, self.text, self.style)
    }
}
