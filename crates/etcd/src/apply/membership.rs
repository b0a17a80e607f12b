//! Members, cluster version and downgrade (`server/etcdserver/api/membership/cluster.go`; `server.go`,
//! `applyConfChange`).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use serde::Deserialize;

use super::messages::{ClusterMemberAttrSetRequest, DowngradeInfoSetRequest};
use crate::apply::Overlay;
use crate::conf_state::ConfState;
use crate::error::{Error, Result};
use crate::finding::FindingKind;
use crate::member::{Member, MemberId};
use crate::proto::ConfChange;
use crate::proto::conf_change::{ADD_LEARNER_NODE, ADD_NODE, REMOVE_NODE, UPDATE_NODE};
use crate::schema::{Bucket, cluster, meta};
use crate::state::State;
use crate::version::EtcdVersion;

/// Default limit of learners in a cluster (`DefaultMaxLearners`).
const MAX_LEARNERS: usize = 1;

/// The members while a log is replayed.
#[derive(Debug)]
pub(super) struct Membership {
    members: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
    /// Learners that were passed over as one too many.
    refused_learners: BTreeSet<MemberId>,
    cluster_version: Option<String>,
    /// `None` up to 3.4, which does not store it.
    conf_state: Option<ConfState>,
}

/// What the conf change that adds or promotes a member carries.
#[derive(Deserialize)]
struct Context {
    #[serde(flatten)]
    member: Member,
    #[serde(default, rename = "isPromote")]
    is_promote: bool,
}

impl Membership {
    pub(super) fn new(state: &State) -> Self {
        let members = state.members.iter().map(|member| (member.id, member.clone())).collect();
        let conf_state = state.conf_state.as_ref().and_then(|json| serde_json::from_str(json).ok());
        Self {
            members,
            removed: state.members_removed.iter().copied().collect(),
            refused_learners: BTreeSet::new(),
            cluster_version: state.cluster_version.clone(),
            conf_state,
        }
    }

    /// Whether servers of this cluster store the checkpoints of leases (`lessor.go`,
    /// `shouldPersistCheckpoints`); earlier ones do only when told so by a flag.
    pub(super) fn persists_checkpoints(&self) -> bool {
        self.cluster_version.as_deref().is_some_and(|version| EtcdVersion::V3_5.is_below(version))
    }

    /// Applies a conf change. One that contradicts the members is passed over, as the servers did.
    pub(super) fn conf_change(&mut self, index: u64, data: &[u8], overlay: &mut Overlay) -> Result<()> {
        let damaged = |defect| FindingKind::WalEntry { index, defect };
        let change = ConfChange::decode(data).map_err(|_| damaged("its conf change does not decode"))?;
        let kind = change.kind.unwrap_or(ADD_NODE);
        let id = MemberId(change.node_id.unwrap_or(0));
        let context = change.context.unwrap_or_default();
        let context = || {
            let context: Context = serde_json::from_slice(&context)
                .map_err(|_| damaged("the member in its conf change does not decode"))?;
            if context.member.id == id {
                Ok(context)
            } else {
                Err(damaged("its conf change names two members"))
            }
        };
        if self.removed.contains(&id) {
            return Ok(());
        }
        match kind {
            ADD_NODE | ADD_LEARNER_NODE => {
                let Context { member, is_promote } = context()?;
                if is_promote {
                    let Some(learner) = self.members.get_mut(&id).filter(|member| member.is_learner) else {
                        return Ok(());
                    };
                    learner.is_learner = false;
                } else {
                    let too_many =
                        kind == ADD_LEARNER_NODE && member.is_learner && self.is_full_of_learners();
                    if self.members.contains_key(&id) || self.urls_taken(id, &member) || too_many {
                        if too_many {
                            self.refused_learners.insert(id);
                        }
                        return Ok(());
                    }
                    self.members.insert(id, member);
                }
                self.save(id, overlay)?;
            }
            REMOVE_NODE => {
                if self.members.remove(&id).is_none() {
                    return Ok(());
                }
                self.removed.insert(id);
                overlay.remove(Bucket::Members, id.to_string());
                overlay.set(Bucket::MembersRemoved, id.to_string(), "removed");
            }
            UPDATE_NODE => {
                let Context { member: update, .. } = context()?;
                if self.urls_taken(id, &update) {
                    return Ok(());
                }
                let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
                member.peer_urls = update.peer_urls;
                self.save(id, overlay)?;
            }
            _ => return Err(damaged("a conf change of an unknown type").into()),
        }
        self.save_conf_state(kind, id, overlay);
        Ok(())
    }

    fn urls_taken(&self, id: MemberId, member: &Member) -> bool {
        let others = self.members.values().filter(|other| other.id != id);
        others.flat_map(|other| &other.peer_urls).any(|url| member.peer_urls.contains(url))
    }

    fn is_full_of_learners(&self) -> bool {
        self.members.values().filter(|member| member.is_learner).count() >= MAX_LEARNERS
    }

    fn save(&self, id: MemberId, overlay: &mut Overlay) -> Result<()> {
        if let Some(member) = self.members.get(&id) {
            overlay.set(
                Bucket::Members,
                id.to_string(),
                member.to_json().map_err(|error| Error::encoding(&error))?,
            );
        }
        Ok(())
    }

    fn save_conf_state(&mut self, kind: i32, id: MemberId, overlay: &mut Overlay) {
        let Some(conf_state) = &mut self.conf_state else { return };
        match kind {
            ADD_NODE => conf_state.add_voter(id.0),
            ADD_LEARNER_NODE => conf_state.add_learner(id.0),
            REMOVE_NODE => conf_state.remove(id.0),
            _ => {}
        }
        if let Ok(json) = serde_json::to_vec(conf_state) {
            overlay.set(Bucket::Meta, meta::CONF_STATE, json);
        }
    }

    /// What a member says of itself when it starts.
    pub(super) fn set_attributes(
        &mut self,
        index: u64,
        set: ClusterMemberAttrSetRequest,
        overlay: &mut Overlay,
    ) -> Result<()> {
        let id = MemberId(set.member_id);
        let attributes = set.member_attributes.unwrap_or_default();
        match self.members.get_mut(&id) {
            Some(member) => {
                (member.name, member.client_urls) = (attributes.name, attributes.client_urls);
                self.save(id, overlay)
            }
            None if self.removed.contains(&id) => Ok(()),
            // It is there: its servers were told to take more learners, which no log tells.
            None if self.refused_learners.contains(&id) => {
                let request = "a second learner, as --max-learners allows".into();
                Err(FindingKind::UnsupportedRequest { index, request }.into())
            }
            None => {
                Err(FindingKind::WalEntry { index, defect: "it names a member that there is not" }.into())
            }
        }
    }

    pub(super) fn set_version(&mut self, version: String, overlay: &mut Overlay) {
        overlay.set(Bucket::Cluster, cluster::CLUSTER_VERSION, version.clone());
        self.cluster_version = Some(version);
    }

    /// Stores a downgrade as `DowngradeInfo` (`etcdserver/version/downgrade.go`) encodes it.
    pub(super) fn set_downgrade(set: &DowngradeInfoSetRequest, overlay: &mut Overlay) {
        let target = if set.enabled { set.ver.as_str() } else { "" };
        let target = serde_json::Value::from(target);
        let json = format!(r#"{{"target-version":{target},"enabled":{}}}"#, set.enabled);
        overlay.set(Bucket::Cluster, cluster::DOWNGRADE, json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn change(kind: i32, id: u64, context: &str) -> Vec<u8> {
        let context = (!context.is_empty()).then(|| context.as_bytes().to_vec());
        ConfChange { id: Some(1), kind: Some(kind), node_id: Some(id), context }.encode_to_vec()
    }

    fn member(id: u64, port: u16, more: &str) -> String {
        format!(r#"{{"id":{id},"peerURLs":["http://h:{port}"]{more}}}"#)
    }

    /// A cluster's life as a server applies it: what contradicts the members is passed over.
    #[test]
    fn conf_changes_end_in_the_members_that_servers_keep() {
        let conf_state = Some(r#"{"voters":[1],"auto_leave":false}"#.into());
        let mut membership = Membership::new(&State { conf_state, ..State::default() });
        let mut overlay = Overlay::default();
        let learner = r#","isLearner":true,"isPromote":false"#;
        let promote = r#","isPromote":true"#;
        // As etcd writes it: of the member, the id alone.
        let promoted = r#"{"id":2,"peerURLs":null,"isPromote":true}"#.to_owned();
        for (kind, id, context) in [
            (ADD_NODE, 1, member(1, 1, "")),
            (ADD_LEARNER_NODE, 2, member(2, 2, learner)),
            // One learner is the most, a peer URL is one member's, and so is an id.
            (ADD_LEARNER_NODE, 3, member(3, 3, learner)),
            (ADD_NODE, 4, member(4, 2, "")),
            (ADD_NODE, 1, member(1, 9, "")),
            (ADD_NODE, 2, promoted),
            // Promoted already.
            (ADD_NODE, 1, member(1, 1, promote)),
            (ADD_NODE, 5, member(5, 5, "")),
            (UPDATE_NODE, 5, member(5, 6, "")),
            (UPDATE_NODE, 5, member(5, 1, "")),
            (REMOVE_NODE, 1, String::new()),
            // Never again.
            (ADD_NODE, 1, member(1, 1, "")),
            (REMOVE_NODE, 7, String::new()),
        ] {
            membership.conf_change(9, &change(kind, id, &context), &mut overlay).unwrap();
        }
        let attributes = ClusterMemberAttrSetRequest { member_id: 5, member_attributes: None };
        membership.set_attributes(9, attributes, &mut overlay).unwrap();

        let pairs = |bucket| {
            let pairs = overlay.pairs(bucket);
            pairs
                .map(|(key, value)| [key, value].map(|text| String::from_utf8_lossy(text).into_owned()))
                .collect::<Vec<_>>()
        };
        let members = [["2".into(), member(2, 2, "")], ["5".into(), member(5, 6, "")]];
        assert_eq!(pairs(Bucket::Members), members);
        assert_eq!(pairs(Bucket::MembersRemoved), [["1", "removed"]]);
        let [[_, conf_state]] = pairs(Bucket::Meta).try_into().unwrap();
        assert_eq!(conf_state, r#"{"voters":[2,5],"auto_leave":false}"#);

        let learner = ClusterMemberAttrSetRequest { member_id: 3, member_attributes: None };
        let error = membership.set_attributes(9, learner, &mut Overlay::default());
        assert!(matches!(error, Err(Error::Unreplayable(FindingKind::UnsupportedRequest { index: 9, .. }))));
        let unknown = ClusterMemberAttrSetRequest { member_id: 8, member_attributes: None };
        assert!(membership.set_attributes(9, unknown, &mut Overlay::default()).is_err());
        let two = change(ADD_NODE, 6, &member(7, 7, ""));
        assert!(membership.conf_change(9, &two, &mut Overlay::default()).is_err());
    }
}
