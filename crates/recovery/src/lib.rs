//! Observe, decide and act: what is broken in a Kubernetes cluster, why, and how to recover it.
//!
//! Three stages with data between them; each arrow is a value that can be saved, shown, tested and replayed:
//!
//! ```text
//! Inventory -> observe -> Facts -> diagnose -> Diagnosis -> plan -> Plan -> execute -> journal -> report
//! ```
//!
//! Nothing that decides does I/O ([`rules`], [`planner`], [`quorum`]); nothing that does I/O decides ([`probe`], [`execute`]).

pub mod agent;
pub mod discover;
mod error_text;
mod etcd_settings;
pub mod execute;
pub mod facts;
pub mod finding;
pub mod host;
pub mod inventory;
pub mod journal;
pub mod operation;
pub mod ownership;
pub mod plan;
pub mod planner;
pub mod probe;
pub mod provider;
pub mod quorum;
pub mod recover;
pub mod rules;
pub mod secret;
pub mod single_points_of_failure;
mod static_pod;
mod transfer_time;
