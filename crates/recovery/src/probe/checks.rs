//! The inventory's checks.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use reqwest::redirect::Policy;

use crate::facts::{CheckAnswer, Fact};
use crate::inventory::{Check, Inventory};

use crate::error_text;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks every check.
pub async fn all(inventory: &Inventory) -> BTreeMap<String, Fact<CheckAnswer>> {
    let asked = inventory.checks.iter().map(|check| async { (check.name.clone(), one(check).await) });
    join_all(asked).await.into_iter().collect()
}

/// Asks one check.
pub(super) async fn one(check: &Check) -> Fact<CheckAnswer> {
    let source = format!("GET {}", check.url);
    match status(&check.url).await {
        Ok(status) => {
            let ok = status.is_informational() || status.is_success() || status.is_redirection();
            Fact::value(source, CheckAnswer { ok, detail: status.to_string() })
        }
        // A URL that cannot be asked says nothing about the cluster; one that stays silent does.
        Err(error) if error.is_builder() => Fact::unknown(source, error_text::of(&error)),
        Err(error) => {
            Fact::value(source, CheckAnswer { ok: false, detail: error_text::of(&error.without_url()) })
        }
    }
}

async fn status(url: &str) -> reqwest::Result<reqwest::StatusCode> {
    // A redirect is an answer; where it leads to need not be reachable from here.
    let client = reqwest::Client::builder().timeout(LIMIT).redirect(Policy::none()).no_proxy().build()?;
    Ok(client.get(url).send().await?.status())
}
