//! Transport errors under gRPC (tonic, hyper, h2, rustls), flattened to a chain of texts.

use std::error::Error;
use std::{fmt, io};

use tonic::Status;

/// A cause in the chain that the transport reports for a failure.
///
/// Keeps the texts only, without those that repeat the one above.
#[derive(Debug)]
pub struct Cause {
    text: String,
    invalid_data: bool,
    source: Option<Box<Self>>,
}

impl Cause {
    /// The transport cause of a failed call; `None` if the member itself returned the error.
    pub(super) fn of_status(status: &Status) -> Option<Self> {
        Self::flatten(status.source(), status.message())
    }

    /// The cause of a transport error, whose own text is always "transport error".
    pub(super) fn of_transport(error: &tonic::transport::Error) -> Self {
        let text = error.to_string();
        Self::flatten(error.source(), &text).unwrap_or(Self { text, invalid_data: false, source: None })
    }

    /// The cause of a failed connection attempt.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let text = error.to_string();
        Self { source: Self::flatten(error.source(), &text).map(Box::new), text, invalid_data: false }
    }

    fn flatten(mut error: Option<&(dyn Error + 'static)>, top: &str) -> Option<Self> {
        let mut links: Vec<Self> = Vec::new();
        while let Some(current) = error {
            let text = current.to_string();
            let kind = current.downcast_ref().map(io::Error::kind);
            let invalid_data = kind == Some(io::ErrorKind::InvalidData);
            if text != top && links.iter().all(|link| link.text != text) {
                links.push(Self { text, invalid_data, source: None });
            } else if let Some(last) = links.last_mut() {
                // The kind is worth keeping even where the text is not.
                last.invalid_data |= invalid_data;
            }
            error = current.source();
        }
        links.into_iter().rev().reduce(|below, link| Self { source: Some(Box::new(below)), ..link })
    }

    /// Whether the peer answered with something that is not TLS, or TLS that cannot be accepted.
    ///
    /// tokio-rustls reports every such failure as an [`io::Error`] of kind `InvalidData`.
    pub(super) fn is_bad_peer(&self) -> bool {
        self.invalid_data || self.source.as_ref().is_some_and(|source| source.is_bad_peer())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
