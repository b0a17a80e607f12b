//! The inventory, `lifeboat.yaml`: the desired state of the cluster. Written by `lifeboat init`, maintained by hand.

mod load;
mod model;
mod schema;
mod secret_ref;
mod tree;
mod validate;

pub use load::{InventoryError, Loaded, Problem};
pub(crate) use model::is_between;
pub use model::*;
pub use schema::schema;
pub use secret_ref::SecretError;
pub(crate) use validate::text::{check_url, is_host, is_machine_id, is_name, is_unit};
