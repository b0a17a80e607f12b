//! Secrets, from where the inventory says they are.

use std::path::PathBuf;

use fs_err as fs;

use super::SecretRef;
use crate::secret::Secret;

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or not UTF-8.
    #[error("environment variable {0} is not set")]
    Env(String),
    /// The file cannot be read.
    #[error("{0}")]
    File(std::io::Error),
    /// Nothing is there.
    #[error("file {} is empty", .0.display())]
    Empty(PathBuf),
}

impl SecretRef {
    /// Reads the secret.
    ///
    /// # Errors
    /// It is missing; the content is never shown.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(Secret::new(text)),
                _ => Err(SecretError::Env(name.clone())),
            },
            Self::File(path) => {
                let text = fs::read_to_string(path).map_err(SecretError::File)?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if text.is_empty() { Err(SecretError::Empty(path.clone())) } else { Ok(Secret::new(text)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_its_last_newline_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = SecretRef::File(file.path().into());
        assert!(matches!(secret.read(), Err(SecretError::Empty(_))));
        fs::write(file.path(), " pass\nword \n").unwrap();
        assert_eq!(secret.read().unwrap().expose(), " pass\nword ");
        assert_eq!(format!("{:?}", secret.read().unwrap()), "[hidden]");
        let missing = SecretRef::Env("LIFEBOAT_NO_SUCH_VARIABLE".into()).read();
        assert!(matches!(missing, Err(SecretError::Env(_))));
    }
}
