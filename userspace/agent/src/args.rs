//! The command line.

use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// Pairgate's agent: one per host. Attaches the eBPF programs, requests and verifies tokens, writes the maps.
#[derive(Debug, Parser)]
#[command(name = "pairgate-agent", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve this host until stopped; what is in the kernel stays and runs to its deadlines.
    Run(RunArguments),
}

#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// Name of this host's record in the registry.
    #[arg(long, value_name = "NAME")]
    pub host: String,
    /// Where the registry is.
    #[arg(long, value_name = "HOST:PORT")]
    pub registry: String,
    /// Interface that carries this host's underlay address.
    #[arg(long, value_name = "INTERFACE")]
    pub uplink: String,
    /// Certificate, key and lock of this host; made if missing.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pairgate/agent")]
    pub state_dir: PathBuf,
    /// The agent's socket; made if missing.
    #[arg(long, value_name = "DIR", default_value = "/run/pairgate")]
    pub run_dir: PathBuf,
    /// Pinned maps and links, on a BPF file system; made if missing.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/pairgate")]
    pub pin_dir: PathBuf,
    /// CA certificate of the installation; needed to enrol.
    #[arg(long, value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// Zero certificate; needed to enrol.
    #[arg(long, value_name = "FILE", requires = "zero_key")]
    pub zero_cert: Option<PathBuf>,
    /// Key of the zero certificate; needed to enrol.
    #[arg(long, value_name = "FILE", requires = "zero_cert")]
    pub zero_key: Option<PathBuf>,
    /// Where to serve /metrics.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9464")]
    pub metrics: SocketAddr,
    /// Seconds after which a pair without packets is removed.
    #[arg(long, value_name = "SECS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle: u64,
}
