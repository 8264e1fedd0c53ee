//! The agent's settings: flags before environment before file, and a default for what nobody says.
//!
//! The file is plain TOML with the flags' names. A word that is not known is an error, because a misspelt
//! setting would otherwise be a setting that does not hold; every error names file and line.

use crate::{adopt::TapPattern, args::RunArguments, datapath::Hook, enrol::ZeroFiles, xdp_guard::Choice};
use serde::Deserialize;
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub const STATE_DIR: &str = "/var/lib/pairgate/agent";
pub const RUN_DIR: &str = "/run/pairgate";
pub const PIN_DIR: &str = "/sys/fs/bpf/pairgate";
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
const IDLE_SECS: u64 = 300;
const LONGEST_IDLE_SECS: u64 = 86_400;
/// No file that people write is larger.
const LARGEST_FILE: u64 = 64 * 1024;

/// Everything that an agent needs to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub host: String,
    pub registry: String,
    pub uplink: String,
    /// None: as this kernel does it best.
    pub hook: Option<Hook>,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub pin_dir: PathBuf,
    pub zero: Option<ZeroFiles>,
    pub metrics: SocketAddr,
    pub idle: Duration,
    pub taps: Vec<TapPattern>,
    pub xdp_guard: Choice,
}

/// What the file may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub host: Option<String>,
    #[serde(deserialize_with = "address::in_file")]
    pub registry: Option<String>,
    pub uplink: Option<String>,
    pub state_dir: Option<PathBuf>,
    pub run_dir: Option<PathBuf>,
    pub pin_dir: Option<PathBuf>,
    pub authority: Option<PathBuf>,
    pub zero_cert: Option<PathBuf>,
    pub zero_key: Option<PathBuf>,
    pub metrics: Option<SocketAddr>,
    pub idle: Option<IdleSecs>,
    pub taps: Option<Vec<TapPattern>>,
    pub xdp_guard: Option<Choice>,
}

/// Seconds after which a pair without packets goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct IdleSecs(pub u64);

impl TryFrom<u64> for IdleSecs {
    type Error = String;

    fn try_from(secs: u64) -> Result<Self, String> {
        if (1..=LONGEST_IDLE_SECS).contains(&secs) {
            Ok(Self(secs))
        } else {
            Err(format!("{secs} is not between 1 and {LONGEST_IDLE_SECS} seconds"))
        }
    }
}

/// Why the settings do not hold together.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} has more than {LARGEST_FILE} bytes and is no file of settings")]
    Large { path: PathBuf },
    #[error("{path} is not valid: {why}")]
    Content { path: PathBuf, why: String },
    #[error("the agent is not told {what}: give --{flag}, or {key} = \"…\" in the file named by --config")]
    Missing {
        what: &'static str,
        flag: &'static str,
        key: &'static str,
    },
    #[error(
        "a zero certificate needs its key, and the CA: give --authority, --zero-cert and --zero-key together"
    )]
    HalfZero,
}

impl File {
    /// Of the text of a file; the error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).map_err(failed)?.len() > LARGEST_FILE {
            return Err(ConfigError::Large {
                path: path.to_owned(),
            });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|why| ConfigError::Content {
            path: path.to_owned(),
            why,
        })
    }
}

impl Settings {
    /// What holds, from the command line, the environment (which the arguments hold already) and the file that
    /// they name.
    pub fn resolve(arguments: RunArguments) -> Result<Self, ConfigError> {
        let file = match &arguments.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        Self::join(arguments, file)
    }

    fn join(arguments: RunArguments, file: File) -> Result<Self, ConfigError> {
        let missing = |what, flag, key| move || ConfigError::Missing { what, flag, key };
        let path = |given: Option<PathBuf>, file: Option<PathBuf>, default: &str| {
            given.or(file).unwrap_or_else(|| PathBuf::from(default))
        };
        let idle = arguments.idle.or(file.idle.map(|IdleSecs(secs)| secs));
        let taps = if arguments.taps.is_empty() {
            file.taps.unwrap_or_default()
        } else {
            arguments.taps
        };
        let host = arguments.host.or(file.host);
        let registry = arguments.registry.or(file.registry);
        let uplink = arguments.uplink.or(file.uplink);
        let zero = zero(
            arguments.authority.or(file.authority),
            arguments.zero_cert.or(file.zero_cert),
            arguments.zero_key.or(file.zero_key),
        )?;
        Ok(Self {
            host: host.ok_or_else(missing("which host this is", "host", "host"))?,
            registry: registry.ok_or_else(missing("where the registry is", "registry", "registry"))?,
            uplink: uplink.ok_or_else(missing("its uplink", "uplink", "uplink"))?,
            hook: arguments.hook,
            state_dir: path(arguments.state_dir, file.state_dir, STATE_DIR),
            run_dir: path(arguments.run_dir, file.run_dir, RUN_DIR),
            pin_dir: path(arguments.pin_dir, file.pin_dir, PIN_DIR),
            zero,
            metrics: arguments.metrics.or(file.metrics).unwrap_or(METRICS),
            idle: Duration::from_secs(idle.unwrap_or(IDLE_SECS)),
            taps,
            xdp_guard: arguments.xdp_guard.or(file.xdp_guard).unwrap_or_default(),
        })
    }
}

/// All three, or no zero certificate. The CA alone is no mistake: an enrolled host has its own copy.
fn zero(
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<ZeroFiles>, ConfigError> {
    match (authority, certificate, key) {
        (Some(authority), Some(certificate), Some(key)) => Ok(Some(ZeroFiles {
            authority,
            certificate,
            key,
        })),
        (_, None, None) => Ok(None),
        (_, Some(_), _) | (_, None, Some(_)) => Err(ConfigError::HalfZero),
    }
}

pub(crate) mod address;
#[cfg(test)]
pub(crate) mod tests;
