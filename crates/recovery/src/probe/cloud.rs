//! What the cloud has.

use std::time::Duration;

use tokio::time::timeout;

use crate::facts::{CloudFacts, CloudIpRange, Fact};
use crate::provider::{self, CloudProvider};

use crate::error_text;

/// Longest wait for one list.
const LIMIT: Duration = Duration::from_secs(4);

/// Asks for every NIC, VM and IP range.
pub async fn collect(cloud: &dyn CloudProvider) -> CloudFacts {
    let ranges = async {
        let ranges = cloud.ip_ranges().await?.into_iter();
        let range = |range: crate::inventory::IpRangeSpec| CloudIpRange {
            l3_network: range.l3_network,
            start_ip: range.start_ip,
            end_ip: range.end_ip,
        };
        Ok(ranges.map(range).collect())
    };
    let (nics, vms, ip_ranges) =
        tokio::join!(ask("NICs", cloud.nics()), ask("VMs", cloud.vms()), ask("IP ranges", ranges));
    CloudFacts { nics, vms, ip_ranges }
}

/// Facts of a cloud that cannot be queried.
pub(super) fn unasked(why: &str) -> CloudFacts {
    CloudFacts {
        nics: Fact::unknown(source("NICs"), why),
        vms: Fact::unknown(source("VMs"), why),
        ip_ranges: Fact::unknown(source("IP ranges"), why),
    }
}

fn source(what: &str) -> String {
    format!("cloud: {what}")
}

async fn ask<T>(what: &str, list: impl Future<Output = provider::Result<Vec<T>>>) -> Fact<Vec<T>> {
    match timeout(LIMIT, list).await {
        Ok(Ok(list)) => Fact::value(source(what), list),
        Ok(Err(error)) => Fact::unknown(source(what), error_text::of(&error)),
        Err(_) => Fact::unknown(source(what), format!("no answer within {} s", LIMIT.as_secs())),
    }
}
