//! Everything that reads bytes from outside, to be tried with any bytes.
//!
//! Each target is a function of bytes. It panics if the parser behind it does, or if what the parser lets through
//! breaks a rule that is checked here by other means. cargo-fuzz runs the targets (`cargo xtask fuzz`, from the
//! package in `run`); an ordinary test runs them on the corpus and on everything that ever made one fail.
//!
//! *Raw* targets take the bytes as they are. *Built* ones make a sound input of them with a few faults, and so reach
//! what lies behind lengths, checksums and signatures.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target says by a panic that something is wrong"
)]

#[cfg(feature = "daemons")]
mod agent;
#[cfg(feature = "daemons")]
mod cli;
mod frames;
#[cfg(feature = "daemons")]
mod guest;
mod icmp;
#[cfg(feature = "daemons")]
mod identity;
#[cfg(feature = "daemons")]
mod kernel;
mod packet;
#[cfg(feature = "daemons")]
mod question;
#[cfg(feature = "daemons")]
mod registry;
mod token;
mod world;

/// One parser, or one way of reaching it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As on the command line and in the folder of the corpus.
    pub name: &'static str,
    /// Panics if something is wrong.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($list:ident: $($(#[doc = $doc:literal])+ $module:ident :: $name:ident;)+) => {
        $($(#[doc = $doc])+ pub fn $name(data: &[u8]) { crate::$module::$name(data); })+

        pub(crate) const $list: &[crate::Target] = &[$(crate::Target { name: stringify!($name), run: $name },)+];
    };
}

targets! {
    PURE:
    /// A guest's frame, raw, with any state outside its bytes.
    packet::from_tap;
    /// A guest's frame, built; what passes goes to the peer and must arrive as it was sent.
    packet::from_tap_built;
    /// A frame from the underlay, raw.
    packet::from_uplink;
    /// A frame from the underlay, built.
    packet::from_uplink_built;
    /// What the VXLAN device has taken apart, raw.
    packet::from_vxlan;
    /// An ICMP error of a guest or of a peer, built.
    icmp::icmp_error_built;
    /// A token as bytes, raw.
    token::token_bytes;
    /// A token as text, raw.
    token::token_text;
    /// A token's claims, built; one flipped bit must be refused.
    token::token_claims;
    /// Grants as people write them.
    token::grant_text;
    /// The question and proof of a mint request.
    token::mint_proof;
}

#[cfg(feature = "daemons")]
pub use of_daemons::*;

#[cfg(feature = "daemons")]
mod of_daemons {
    targets! {
        OF_DAEMONS:
        /// Records of both rings, raw.
        kernel::ring_records;
        /// A held packet, built as the program writes it.
        kernel::held_built;
        /// What the kernel says about interfaces, addresses and routes.
        kernel::netlink;
        /// What a guest asks about itself, raw.
        guest::guest_question;
        /// The same, built as clients do it.
        guest::guest_question_built;
        /// An offer from another host, raw.
        agent::offer;
        /// An offer whose token carries the right tag, with a way back.
        agent::offer_built;
        /// The registry's goal state, raw.
        agent::goal_state;
        /// The registry's answer to a mint request, raw.
        agent::mint_answer;
        /// The agent's file, patterns and command line.
        agent::agent_settings;
        /// An agent's mint request as the registry reads it.
        registry::mint_request;
        /// Bodies of the REST API, and what is read out of them.
        registry::rest_bodies;
        /// Names, prefixes, MAC addresses, list positions and tags, which are parts of paths and headers.
        registry::names;
        /// Signing requests.
        identity::signing_request;
        /// Certificates, keys and the identities in them.
        identity::certificate;
        /// The operator's file of what should be.
        cli::desired_file;
        /// The command line, and what registry and agent answer to it.
        cli::command_and_answers;
    }
}

/// All of them.
pub fn targets() -> impl Iterator<Item = Target> {
    #[cfg(feature = "daemons")]
    let more = of_daemons::OF_DAEMONS;
    #[cfg(not(feature = "daemons"))]
    let more = &[];
    PURE.iter().chain(more).copied()
}
