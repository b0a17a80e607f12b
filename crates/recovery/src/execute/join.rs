//! Makes a member start as a joining one: `--initial-cluster-state=existing` and the cluster as it is.
//!
//! Its own service does not say that. The last of two equal flags wins, so the flags are appended to its command
//! line: in a drop-in in `/run`, which a reboot takes away, or in the static pod's manifest, where kubeadm leaves the
//! same flags for good. Once there is a data dir, etcd reads neither.
//!
//! Files are read, changed by a parser here, and written back; what cannot be parsed with certainty is refused.

mod manifest;
mod unit;

use std::path::Path;

use lifeboat_client::messages::Member;

use crate::host::Command;
use crate::inventory::{MemberSpec, Service, check_url, is_name};
use crate::probe::host::FENCED_MANIFESTS;

use super::context::Context;
use super::error::StepError;
use super::file;

/// The drop-in in the directory of a unit.
const DROP_IN: &str = "50-lifeboat-join.conf";

const LEAVE_UNIT: &str = r#"
set -eu
dir=/run/systemd/system/$1.d
rm -f "$dir/$2"
rmdir "$dir" 2>/dev/null || :
systemctl daemon-reload
"#;

/// A flag and its value.
type Flag<'a> = (&'a str, &'a str);

/// The cluster as it is, for `--initial-cluster`, with the name of the member that joins. Names and URLs are the cluster's
/// word: each must have the form that an inventory asks for.
pub(super) fn cluster(member: &str, spec: &MemberSpec, listed: &[Member]) -> Result<String, StepError> {
    let mut parts = Vec::new();
    for entry in listed {
        let joins = entry.peer_urls.contains(&spec.peer_url);
        let name = if joins { member } else { entry.name.as_str() };
        for url in &entry.peer_urls {
            if !is_name(name) || check_url(url, &["http", "https"], false).is_err() {
                let id = format!("{:x}", entry.id);
                return Err(StepError::Fatal(format!(
                    "member {id} of the cluster has a name or peer URL that cannot be a part of --initial-cluster: \
                     {name:?}, {url:?}; correct it with etcdctl member update, or remove the member"
                )));
            }
            parts.push(format!("{name}={url}"));
        }
    }
    Ok(parts.join(","))
}

/// Makes a member's service start it as one that joins a cluster.
pub(super) async fn prepare(
    context: &Context<'_>,
    spec: &MemberSpec,
    cluster: &str,
) -> Result<(), StepError> {
    let flags = [("initial-cluster-state", "existing"), ("initial-cluster", cluster)];
    let host = &spec.host;
    match &spec.service {
        Service::Unit(unit) => {
            let text = context.ask(host, Command::new(["systemctl", "cat", "--", unit])).await?;
            let drop_in = unit::drop_in(&text, DROP_IN, &flags).map_err(|why| refused(host, unit, &why))?;
            let path = Path::new("/run/systemd/system").join(format!("{unit}.d")).join(DROP_IN);
            file::replace(context, host, &path, None, &drop_in).await?;
            context.change(host, Command::new(["systemctl", "daemon-reload"])).await?;
        }
        Service::StaticPod(pod) => {
            // Fenced, it lies out of the kubelet's sight while it is changed. An earlier run may have released it already.
            let fenced = Path::new(FENCED_MANIFESTS).join(pod.manifest.file_name().unwrap_or_default());
            let (path, text) = file::read_first(context, host, &[&fenced, &pod.manifest]).await?;
            let place = path.display().to_string();
            let changed = manifest::with_flags(&text, &pod.process, &flags)
                .map_err(|why| refused(host, &place, &why))?;
            if changed != text && path != fenced {
                return Err(refused(
                    host,
                    &place,
                    "it is not fenced, and the kubelet would see it half changed",
                ));
            }
            if changed != text {
                file::replace(context, host, &path, Some(&text), &changed).await?;
            }
        }
    }
    Ok(())
}

/// Takes a unit's drop-in away again.
pub(super) async fn undo(context: &Context<'_>, spec: &MemberSpec) -> Result<(), StepError> {
    if let Service::Unit(unit) = &spec.service {
        context.change(&spec.host, Command::script(LEAVE_UNIT, [unit.as_str(), DROP_IN])).await?;
    }
    Ok(())
}

fn refused(host: &str, what: &str, why: &str) -> StepError {
    StepError::Fatal(format!(
        "{host}: {what}: {why}; set --initial-cluster-state=existing there by hand, start etcd, then resume"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, url: &str) -> Member {
        Member { id: 7, name: name.into(), peer_urls: vec![url.into()], ..Member::default() }
    }

    fn spec() -> MemberSpec {
        MemberSpec {
            host: "m1".into(),
            client_url: "https://10.0.0.1:2379".into(),
            peer_url: "https://10.0.0.1:2380".into(),
            data_dir: "/var/lib/etcd".into(),
            wal_dir: None,
            service: Service::Unit("etcd.service".into()),
            owner: None,
        }
    }

    #[test]
    fn the_cluster_is_named_by_valid_names_and_urls() {
        let listed = [member("", "https://10.0.0.1:2380"), member("b", "https://10.0.0.2:2380")];
        let cluster = cluster("a", &spec(), &listed).unwrap();
        assert_eq!(cluster, "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380");
    }

    #[test]
    fn hostile_names_and_urls_are_refused() {
        for (name, url) in [
            ("x|e id", "https://10.0.0.2:2380"),
            ("x&y", "https://10.0.0.2:2380"),
            ("x\nExecStartPre=/bin/id", "https://10.0.0.2:2380"),
            ("%n", "https://10.0.0.2:2380"),
            ("-x", "https://10.0.0.2:2380"),
            ("", "https://10.0.0.2:2380"),
            ("b", "https://10.0.0.2:2380/|e id"),
            ("b", "https://10.0.0.2:2380\n[Service]"),
            ("b", "https://$(id):2380"),
            ("b", "unix:///tmp/x"),
        ] {
            let refused = cluster("a", &spec(), &[member(name, url)]);
            assert!(matches!(refused, Err(StepError::Fatal(_))), "{name:?} {url:?}");
        }
    }
}
