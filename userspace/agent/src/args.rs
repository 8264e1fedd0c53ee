//! The command line. What a flag does not say the environment may, and then the file ([`crate::config`]).

use crate::{adopt::TapPattern, datapath::Hook, xdp_guard::Choice};
use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf, sync::LazyLock};

/// Pairgate's agent: one per host. Attaches the eBPF programs, requests and verifies tokens, writes the maps.
#[derive(Debug, Parser)]
#[command(name = "pairgate-agent", version = VERSION.as_str())]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

/// Of the program, and of the contracts that must be the same on both sides.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} (protocol {}, maps {})",
        env!("CARGO_PKG_VERSION"),
        pairgate_api::PROTOCOL,
        pairgate_abi::ABI_VERSION
    )
});

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve this host until stopped; what is in the kernel stays and runs to its deadlines.
    Run(Box<RunArguments>),
    /// Take everything that an agent left in the kernel away: taps, programs, maps, the VXLAN device.
    ///
    /// Refused while an agent runs. Taps made by other hands stay, and stay shut, unless --all is given.
    Cleanup(CleanupArguments),
}

/// Every setting may also stand in the file, under the same name with `_` for `-`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArguments {
    /// Settings in TOML; what is given here or in the environment counts more.
    #[arg(long, value_name = "FILE", env = "PAIRGATE_AGENT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Name of this host's record in the registry.
    #[arg(long, value_name = "NAME", env = "PAIRGATE_AGENT_HOST")]
    pub host: Option<String>,
    /// Where the registry is; port 7443 unless given.
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        env = "PAIRGATE_AGENT_REGISTRY",
        value_parser = crate::config::address::registry
    )]
    pub registry: Option<String>,
    /// Interface that carries this host's underlay address.
    #[arg(long, value_name = "INTERFACE", env = "PAIRGATE_AGENT_UPLINK")]
    pub uplink: Option<String>,
    /// How programs are attached, if not in the better way that this kernel has: for tries.
    #[arg(
        long,
        value_name = "tcx|clsact",
        env = "PAIRGATE_HOOK",
        value_enum,
        hide = true
    )]
    pub hook: Option<Hook>,
    /// Certificate, key and lock of this host; made if missing [default: /var/lib/pairgate/agent].
    #[arg(long, value_name = "DIR", env = "PAIRGATE_AGENT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The agent's socket; made if missing [default: /run/pairgate].
    #[arg(long, value_name = "DIR", env = "PAIRGATE_AGENT_RUN_DIR")]
    pub run_dir: Option<PathBuf>,
    /// Pinned maps and links, on a BPF file system; made if missing [default: /sys/fs/bpf/pairgate].
    #[arg(long, value_name = "DIR", env = "PAIRGATE_AGENT_PIN_DIR")]
    pub pin_dir: Option<PathBuf>,
    /// CA certificate of the installation; needed to enrol.
    #[arg(long, value_name = "FILE", env = "PAIRGATE_AGENT_AUTHORITY")]
    pub authority: Option<PathBuf>,
    /// Zero certificate; needed to enrol.
    #[arg(long, value_name = "FILE", env = "PAIRGATE_AGENT_ZERO_CERT")]
    pub zero_cert: Option<PathBuf>,
    /// Key of the zero certificate; needed to enrol.
    #[arg(long, value_name = "FILE", env = "PAIRGATE_AGENT_ZERO_KEY")]
    pub zero_key: Option<PathBuf>,
    /// Where to serve /metrics [default: 127.0.0.1:9464].
    #[arg(long, value_name = "IP:PORT", env = "PAIRGATE_AGENT_METRICS")]
    pub metrics: Option<SocketAddr>,
    /// Seconds after which a pair without packets is removed [default: 300].
    #[arg(long, value_name = "SECS", env = "PAIRGATE_AGENT_IDLE", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle: Option<u64>,
    /// Taps made by other hands that belong to this agent, by name; one `*` may stand for any end. They are shut
    /// as soon as they appear, and open for the VM whose tap has that name.
    #[arg(
        long,
        value_name = "PATTERN",
        env = "PAIRGATE_AGENT_TAPS",
        value_delimiter = ','
    )]
    pub taps: Vec<TapPattern>,
    /// Drop frames under unknown handles in the uplink's driver, where it runs XDP programs by itself: always, never, or
    /// while a flood makes it worth its cost [default: auto].
    #[arg(
        long,
        value_name = "auto|on|off",
        env = "PAIRGATE_AGENT_XDP_GUARD",
        value_enum,
        hide_possible_values = true
    )]
    pub xdp_guard: Option<Choice>,
}

#[derive(Clone, Debug, Args)]
pub struct CleanupArguments {
    /// The stopped agent's own.
    #[arg(long, value_name = "DIR", default_value = crate::config::STATE_DIR)]
    pub state_dir: PathBuf,
    /// The stopped agent's own.
    #[arg(long, value_name = "DIR", default_value = crate::config::PIN_DIR)]
    pub pin_dir: PathBuf,
    /// Also open what the programs still shut: taps made by other hands become ordinary interfaces.
    #[arg(long)]
    pub all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_both_contracts() {
        let text = Arguments::try_parse_from(["pairgate-agent", "--version"])
            .unwrap_err()
            .to_string();
        let abi = pairgate_abi::ABI_VERSION;
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
        assert!(text.contains(&format!("maps {abi}")), "{text}");
        assert!(
            text.contains(&format!("protocol {}", pairgate_api::PROTOCOL)),
            "{text}"
        );
    }
}
