//! What operators may do: one file per noun, one error per operation.
//!
//! Guarantee: each operation is one transaction with its audit row, and decides on what that transaction
//! reads; nothing is looked up before and believed later.

mod audit;
mod certificates;
mod denials;
mod ending;
mod hosts;
mod networks;
pub(crate) mod once;
mod page;
mod pairs;
mod placements;
mod readdress;
mod removal;
mod status;
mod tags;
#[cfg(test)]
mod tests;
mod vms;

pub use certificates::{CreateCertificateError, RevokeError};
pub use denials::DenyError;
pub use ending::TimeoutError;
pub use hosts::CreateHostError;
pub use networks::{ConfigureNetworkError, CreateNetworkError};
pub use once::OnceError;
pub use page::{OfOwner, Page, PageError};
pub use pairs::AllowError;
pub use placements::PlaceError;
pub use readdress::ReaddressError;
pub use removal::{RemoveHostError, RemoveNetworkError, RemoveVmError};
pub use tags::{Expected, ExpectedError, Tagged};
pub use vms::{AddressesError, CreateVmError};

pub(crate) use placements::open_fenced;

use crate::{
    inventory::{Name, Network, Vm},
    store::{StoreError, View},
};

/// What kind of refusal an error is, in the words of the REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    Exists,
    Invalid,
    Conflict,
    /// It is no longer what the request relies on.
    Changed,
    /// A key of another request.
    Reused,
    TooMany,
    Unavailable,
    Internal,
}

/// An error that operators are told: its text says why and what to do next.
pub trait Refusal: std::error::Error {
    fn kind(&self) -> Kind;
}

impl Refusal for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Stopped | Self::Full | Self::Undone => Kind::Unavailable,
            Self::Sqlite(_) | Self::Inconsistent(_) | Self::Seal(_) => Kind::Internal,
        }
    }
}

/// Why something that was named could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("there is no network of that name: `pairgate network list` shows all")]
    Network,
    #[error("there is no VM of that name in network {network}: `pairgate vm list` shows all")]
    Vm { network: String },
    #[error("there is no host of that name: `pairgate host list` shows all")]
    Host,
    #[error("it has changed since the state that If-Match names: read it again, and decide anew")]
    Changed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for FindError {
    fn kind(&self) -> Kind {
        match self {
            Self::Network | Self::Vm { .. } | Self::Host => Kind::NotFound,
            Self::Changed => Kind::Changed,
            Self::Store(error) => error.kind(),
        }
    }
}

/// A text that can be no name names nothing, and costs no look into the store.
fn find_network(view: &View<'_>, name: &str) -> Result<Network, FindError> {
    let name: Name = name.parse().map_err(|_| FindError::Network)?;
    view.network(&name)?.ok_or(FindError::Network)
}

fn find_vm(view: &View<'_>, network: &Network, name: &str) -> Result<Vm, FindError> {
    let missing = || FindError::Vm {
        network: network.name.clone(),
    };
    let name: Name = name.parse().map_err(|_| missing())?;
    view.vm(network.id, &name)?.ok_or_else(missing)
}

fn find_host(view: &View<'_>, name: &str) -> Result<crate::inventory::Host, FindError> {
    let name: Name = name.parse().map_err(|_| FindError::Host)?;
    view.host_by_name(&name)?.ok_or(FindError::Host)
}
