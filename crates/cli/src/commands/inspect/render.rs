//! The text of `inspect`.

use std::io::{self, Write};

use lifeboat_etcd::KubernetesIdentity;
use lifeboat_etcd::report::{InspectionReport, LogReport, RaftReport};

use crate::{output, terminal};

/// Writes what a source holds; `remedy` is what to do about its digest.
pub(super) fn inspection(
    report: &InspectionReport,
    remedy: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let integrity = match (&report.integrity_error, report.integrity.as_str()) {
        (Some(error), _) => format!("DAMAGED: {error}"),
        (None, "verified") => "sha256 verified".into(),
        (None, _) => "no digest (copy of a db): bit rot in values cannot be detected".into(),
    };
    let compact =
        if report.compact_revision < 0 { "never".into() } else { report.compact_revision.to_string() };
    let version =
        report.cluster_version.as_deref().or(report.storage_version.as_deref()).unwrap_or("unknown");
    let mut fields = vec![
        ("source", format!("{} ({})", report.source, report.kind)),
        ("size", format!("{}, {} in use", output::bytes(report.size), output::bytes(report.size_in_use))),
        ("integrity", integrity),
    ];
    fields.extend(report.combination.iter().map(|text| ("read as", text.clone())));
    fields.extend(report.identity.iter().map(|text| ("", text.clone())));
    fields.extend(remedy.map(|remedy| ("", remedy.to_owned())));
    fields.extend([
        ("etcd", format!("{} (cluster version {version})", report.written_by)),
        ("revision", report.revision.to_string()),
        ("compacted", compact),
        ("keys", format!("{} live, {} revisions", report.live_keys, report.revisions)),
        ("leases", format!("{}, {} keys attached", report.leases, report.leased_keys)),
    ]);
    if report.keys_without_lease > 0 {
        fields.push(("", format!("{} keys refer to a missing lease", report.keys_without_lease)));
    }
    let auth = if report.auth.enabled { "on" } else { "off" };
    let (users, roles) = (report.auth.users.len(), report.auth.roles.len());
    fields.push(("auth", format!("{auth}, {users} users, {roles} roles")));
    fields.push(("alarms", or_none(report.alarms.iter().map(|a| format!("{} on {}", a.alarm, a.member_id)))));
    let encrypted = report.encrypted_keys.iter().map(|(name, count)| format!("{count} keys by {name}"));
    fields.push(("encrypted", or_none(encrypted)));
    for (index, member) in report.members.iter().enumerate() {
        let learner = if member.is_learner { " (learner)" } else { "" };
        let text = format!("{} {}{learner} {}", member.id, member.name, member.peer_urls.join(","));
        fields.push((if index == 0 { "members" } else { "" }, text));
    }
    let voters =
        report.initial_cluster.iter().map(|cluster| ("voters", format!("--initial-cluster {cluster}")));
    fields.extend(voters);
    fields.extend(raft_fields(report));
    fields.extend(kubernetes_field(report));
    fields.extend(report.undecodable.iter().map(|text| ("undecodable", text.clone())));
    output::fields(out, &fields)?;
    prefix_table(report, out)
}

/// The Kubernetes cluster that a store belongs to, if any.
fn kubernetes_field(report: &InspectionReport) -> Option<(&'static str, String)> {
    let KubernetesIdentity { prefix, uid, node_count, .. } = &report.kubernetes;
    let uid = uid.as_deref().unwrap_or("unknown");
    (!prefix.is_empty())
        .then(|| ("cluster", format!("Kubernetes: kube-system has UID {uid}, {node_count} nodes")))
}

fn raft_fields(report: &InspectionReport) -> Vec<(&'static str, String)> {
    let Some(raft) = &report.raft else { return Vec::new() };
    let RaftReport { member_id, cluster_id, term, consistent_index, replayed_to, .. } = raft;
    let uncommitted = match raft.uncommitted_entries {
        0 => String::new(),
        1 => "; 1 more entry is not known to be committed, and ignored".into(),
        entries => format!("; {entries} more entries are not known to be committed, and ignored"),
    };
    let log = format!("term {term}, db at {consistent_index}, replayed to {replayed_to}{uncommitted}");
    vec![("member", format!("{member_id} of cluster {cluster_id}")), ("raft", log)]
}

fn prefix_table(report: &InspectionReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    let mut prefixes: Vec<_> = report.keys_by_prefix.iter().collect();
    prefixes.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
    for (name, count) in prefixes {
        writeln!(out, "{count:>9}  {}", terminal::printable(name.as_bytes()))?;
    }
    if report.keys_of_further_prefixes > 0 {
        writeln!(out, "{:>9}  (other prefixes)", report.keys_of_further_prefixes)?;
    }
    Ok(())
}

fn or_none(items: impl Iterator<Item = String>) -> String {
    let joined = items.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "none".into() } else { joined }
}

/// Writes how far the log of a data dir goes.
pub(super) fn log(source: &str, raft: &LogReport, out: &mut dyn Write) -> io::Result<()> {
    let LogReport { cluster_id, member_id, term, commit, last_index, last_term, first_index, .. } = raft;
    writeln!(out, "source   {source}")?;
    writeln!(out, "cluster  {cluster_id}")?;
    writeln!(out, "member   {member_id}")?;
    writeln!(
        out,
        "log      entries {first_index} to {last_index}, last term {last_term}; committed up to {commit}, term {term}"
    )?;
    match raft.db_index {
        Some(index) => writeln!(out, "db       up to entry {index}"),
        None => writeln!(out, "db       cannot be read"),
    }
}
