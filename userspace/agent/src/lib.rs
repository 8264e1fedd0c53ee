//! Pairgate's agent: one per host.
//!
//! It asks the registry for tokens when a guest wants to send ([`request`]), shows them to the hosts they name
//! ([`present`]), decides about the tokens shown to it ([`admit`]), and writes what follows into the kernel,
//! by one task alone ([`keeper`]). The programs in the kernel ([`datapath`]) then decide about every packet by
//! themselves, until a deadline or the host lease ends; an agent that has died can keep nothing open.
//! What a guest asks about its own configuration is answered on its tap ([`guest_config`]).
//!
//! Three things hold by type:
//! - an entry of `PAIRS_IN` is written only from an [`admit::VerifiedPair`], which only [`admit::verify`]
//!   makes, from a token that carries our key's tag;
//! - an entry of `PAIRS_OUT` is written only from a [`present::CarriedPair`], which joins a token that came
//!   from the registry, or in the offer of the very host it names, with that host's handle; or, between two
//!   guests of this host, from an [`admit::LocalPair`], which only [`admit::verify_local`] makes;
//! - wall time never reaches a decision: a token's end becomes an instant of boot time in one function of
//!   [`clock`], by the registry's time.
//!
//! See `docs/agent.md` for files, sockets, metrics and the life of a pair.

pub mod admit;
pub mod adopt;
pub mod answer;
pub mod args;
pub mod capabilities;
pub mod carries;
pub mod certificate;
pub mod cleanup;
pub mod clock;
pub mod config;
pub mod datapath;
pub mod enrol;
pub mod follow;
pub mod goal;
pub mod guest_config;
pub mod hold;
pub mod keeper;
pub mod lease;
pub mod local;
pub mod lock;
pub mod metrics;
pub mod net;
pub mod news;
pub mod notify;
pub mod peers;
pub mod port;
pub mod present;
pub mod reach;
pub mod registry_link;
pub mod renew;
pub mod request;
pub mod ring;
pub mod run;
pub mod silence;
pub mod tap_name;
pub mod tap_socket;
pub mod taps;
pub mod totals;
pub mod uplink;
pub mod xdp_guard;
