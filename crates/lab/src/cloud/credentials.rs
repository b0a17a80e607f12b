//! Credentials of the cloud's client, generated when the cloud is first opened.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::store::write_private;

const FILE: &str = "cloud-credentials.json";

/// An AccessKey, and the account it belongs to. For the lab only: whatever can read the file may use them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// Id of the AccessKey.
    pub access_key_id: String,
    /// Secret of the AccessKey.
    pub access_key_secret: String,
    /// Name of the account.
    pub account_name: String,
    /// Its password, in the clear: clients send its SHA-512.
    pub password: String,
}

impl Credentials {
    /// Reads `cloud-credentials.json` (mode 0600) in the state dir, or generates and writes it.
    pub fn load_or_create(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(FILE);
        if path.exists() {
            return serde_json::from_slice(&fs::read(&path)?)
                .with_context(|| format!("read {}", path.display()));
        }
        let credentials = Self {
            access_key_id: random_hex(10)?,
            access_key_secret: random_hex(20)?,
            account_name: "admin".into(),
            password: random_hex(12)?,
        };
        write_private(&path, &serde_json::to_vec_pretty(&credentials)?)?;
        Ok(credentials)
    }
}

fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
