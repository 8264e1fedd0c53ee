//! What can be said on the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{fmt, path::PathBuf, str::FromStr};

/// Say which virtual machines may talk, and see what is enforced.
#[derive(Debug, Parser)]
#[command(
    name = "pairgate",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done or yes, 1 failed or no, 2 wrong usage, 3 could not tell.\n\n\
                  Example: let two VMs talk, and stop them again\n  \
                  pairgate pair allow web1 db1\n  \
                  pairgate pair deny web1 db1"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Options {
    /// Where the registry listens; port 7443 unless given
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "PAIRGATE_REGISTRY",
        hide_env_values = true
    )]
    pub(crate) registry: Option<String>,
    /// The installation's CA certificate (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PAIRGATE_AUTHORITY",
        hide_env_values = true
    )]
    pub(crate) authority: Option<PathBuf>,
    /// Your operator certificate (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PAIRGATE_CERT",
        hide_env_values = true
    )]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PAIRGATE_KEY",
        hide_env_values = true
    )]
    pub(crate) key: Option<PathBuf>,
    /// The network whose VMs and pairs are meant
    #[arg(
        long = "network",
        id = "in_network",
        global = true,
        value_name = "NETWORK",
        default_value = "default"
    )]
    pub(crate) in_network: Name,
    /// Ask this host's agent (status, pairs, drops, doctor)
    #[arg(long = "host", id = "on_host", global = true, value_name = "NAME")]
    pub(crate) on_host: Option<Name>,
    /// The agent's socket; {host} in it stands for the name given with --host
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "PAIRGATE_AGENT_SOCKET",
        hide_env_values = true,
        default_value = "/run/pairgate/agent.sock"
    )]
    pub(crate) socket: String,
    /// How answers are printed; json is what the API said, unchanged
    #[arg(short, long, global = true, value_enum, value_name = "FORM", default_value_t = Output::Table)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Address spaces: a VM belongs to one, a pair never spans two
    #[command(subcommand)]
    Network(crate::network::Command),
    /// Machines that run VMs
    #[command(subcommand)]
    Host(crate::host::Command),
    /// Guests, and where they run
    #[command(subcommand)]
    Vm(crate::vm::Command),
    /// Who may talk to whom
    #[command(subcommand)]
    Pair(crate::pair::Command),
    /// One screen about the installation, or with --host about one host
    #[command(
        after_help = "Whatever is wrong has a line of its own that names its cure.\n\n\
                      Exit codes: 0 healthy, 1 degraded, 2 wrong usage, 3 unreachable.\n\n\
                      Example: is h1 enforcing what the registry wants?\n  pairgate status --host h1"
    )]
    Status,
    /// What the registry lacks of what a file says
    Diff(crate::desired::Diff),
    /// Make the registry as a file says
    Apply(crate::desired::Apply),
    /// The pairs that are open on a host now, and what has passed
    #[command(
        after_help = "Example: who may talk to the guests of h2 at this moment?\n  pairgate pairs --host h2"
    )]
    Pairs,
    /// Why packets died on a host, counted by reason
    Drops(crate::drops::Command),
    /// Look for what stands in Pairgate's way on this machine
    Doctor(crate::doctor::Command),
    /// What was done, by whom, and whether the record of it is whole
    #[command(subcommand)]
    Audit(crate::audit::Command),
    /// Certificates that enrol hosts
    #[command(subcommand)]
    Zero(crate::zero::Command),
    /// Who may manage the installation
    #[command(subcommand)]
    Operator(crate::operator::Command),
    /// Judge a token by hand
    #[command(subcommand)]
    Token(crate::token::Command),
    /// Print a script that completes this command in a shell
    #[command(
        after_help = "Examples:\n  pairgate completion bash > /etc/bash_completion.d/pairgate\n  \
                      pairgate completion zsh > /usr/share/zsh/site-functions/_pairgate\n  \
                      pairgate completion fish > /etc/fish/completions/pairgate.fish"
    )]
    Completion {
        /// The shell
        shell: crate::manual::Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Manual {
        /// Where to; made if missing
        folder: PathBuf,
    },
}

/// A name: 1 to 63 of a-z, 0-9 and '-'. Checked before it becomes part of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(String);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a name is 1 to 63 characters out of a-z, 0-9 and '-'")]
pub(crate) struct BadName;

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(sound) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadName)
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("pairgate").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_of_the_contract_is_understood() {
        for line in [
            "network create default --prefix 10.77.0.0/24",
            "network create default --prefix 10.77.0.0/24 --prefix fd77::/64",
            "network create default --prefix 10.77.0.0/24 --gateway 10.77.0.254 --dns 192.0.2.53 --dns fd00::53 --domain a.b --mtu 1400",
            "network set default --dns 192.0.2.53",
            "network set default --no-dns --no-domain --gateway 10.77.0.9",
            "network list",
            "network show default",
            "host create h1 --address 192.0.2.1",
            "host create h1 --address 192.0.2.1 --agent-port 1 --overlay-port 2",
            "host list",
            "host show h1",
            "vm create web1",
            "vm create web1 --address 10.77.0.11 --mac 02:00:00:00:00:01 --network other",
            "vm create web1 --address 10.77.0.11 --address fd77::11",
            "vm list",
            "vm show web1",
            "vm place web1 h1",
            "pair allow web1 db1",
            "pair allow web1 db2 tcp/443 udp/1000-2000 icmp --one-way",
            "pair allow --one-way web1 db2 all",
            "pair allow web1 db2 tcp/443 --timeout 0",
            "pair check web1 db2",
            "pair check web1 db2 tcp/443 icmp -o json",
            "vm set-addresses web1 10.77.0.12 fd77::12 --timeout 5",
            "vm delete web1 --timeout 0",
            "host delete h1",
            "network delete blue",
            "pair deny web1 db1",
            "pair deny web1 db1 --timeout 0",
            "pair deny web1 db1 --timeout 300",
            "pair list -o json",
            "-o json --network other pair list",
            "status",
            "status --host h1",
            "--host h1 drops",
            "drops -f --host h1",
            "pairs --host h1",
            "doctor --host h1 -o json",
            "doctor --pin-dir /y",
            "diff -f site.toml",
            "diff -f - --deny-unlisted-pairs -o json",
            "apply --file site.toml --dry-run",
            "apply -f site.toml --deny-unlisted-pairs --timeout 5",
            "completion bash",
            "completion zsh",
            "completion fish",
            "audit list",
            "audit list --since 2h -o json",
            "audit verify",
            "host reset h1",
            "zero create rack1 --into rack1 --uses 40 --life 12h",
            "zero list",
            "zero revoke 00000000-0000-4000-8000-000000000000",
            "operator create alice --into alice",
            "operator list",
            "operator revoke 00000000-0000-4000-8000-000000000000",
            "token inspect AAAA",
            "token inspect - --key-file f --at 5",
            "token verify --key-file f -",
            "token verify --key-file f AAAA --at 5",
            "token verify --key-file f -AAA",
            "token verify -AAA --key-file f --at 5 -o table",
            "token verify --key-file f --AA",
            "token verify --key-file f -- -o",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_usage_is_refused_before_anything_is_asked() {
        for line in [
            "",
            "pair allow web1",
            "pair allow web1 db1 tcp/70000",
            "pair allow web1 db1 icmp/8",
            "pair check web1",
            "pair check web1 db1 tls",
            "vm set-addresses web1",
            "vm delete",
            "vm delete web1 --timeout 301",
            "host delete",
            "network delete ../x",
            "pair allow web1 db1 replies",
            "pair allow web1 db1 --oneway",
            "pair deny web1 db1 --timeout -1",
            "pair deny web1 db1 --timeout forever",
            "pair deny web1 db1 --timeout 301",
            "vm create ../../hosts",
            "vm show WEB1",
            "vm create web1 --address 10.77.0",
            "host create h1",
            "network create default",
            "network set default --dns 192.0.2.53 --no-dns",
            "network set default --gateway fd77::1",
            "network set default --mtu x",
            "status --host ../x",
            "token verify AAAA",
            "token verify --key-file f AAAA --at yesterday",
            "audit list --since yesterday",
            "audit verify --noted 3",
            "zero create rack1",
            "operator create alice --into a --life forever",
            "operator revoke ../hosts",
            "pair list -o yaml",
            "apply",
            "diff site.toml",
            "diff -f site.toml --dry-run",
            "completion tcsh",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        for bad in ["", ".", "..", "a/b", "a b", "a%2f", "A", "ä", "a\n", "a?b", "a#b"] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(63).parse::<Name>().is_ok());
        assert!("a".repeat(64).parse::<Name>().is_err());
    }
}
