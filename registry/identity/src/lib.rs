//! Who is at the other end of a connection.
//!
//! Every participant of an installation holds a certificate from the installation's own CA; its one URI
//! names the installation, the role and the holder. This crate turns those certificates into mutual TLS 1.3
//! for daemons and the CLI, and hands each request's caller to the code that decides.
//!
//! It refuses: any other TLS version, a peer without a certificate of the CA, a certificate whose identity
//! is missing, doubled or of another installation, a role that may not use a route, and resumed sessions
//! (a resumed session would skip the look at the certificate).

mod body;
mod certificate;
mod complaints;
mod connect;
mod credentials;
mod identity;
mod now;
mod places;
mod serve;

pub use certificate::{CertificateError, PeerCertificate};
pub use connect::{ConnectError, Expect, channel, connect};
pub use credentials::{CredentialError, Credentials, client_config, server_config, server_config_by};
pub use identity::{Identity, IdentityError};
pub use now::Now;
pub use serve::{Caller, serve, serve_by};
