//! `pairgate-registry init` makes an installation; `pairgate-registry serve` runs it.

#![forbid(unsafe_code)]

use anyhow::Context;
use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pairgate_registry::{
    authority::ServerAddress, init::init, inventory::Name, notify, rescue::make_operator, settings::Settings,
    start,
};
use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The control service of a Pairgate installation.
#[derive(Debug, Parser)]
#[command(name = "pairgate-registry", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an installation: its CA, its first certificates and its empty store.
    Init {
        /// Where everything is kept; must not hold an installation yet.
        #[arg(long)]
        state_dir: PathBuf,
        /// An IP address or name by which agents and operators reach the registry; may be given again.
        #[arg(long = "address", value_name = "IP_OR_NAME", required = true)]
        addresses: Vec<ServerAddress>,
    },
    /// Make an operator certificate here, while the service is stopped: for when there is no good one left.
    Operator {
        /// Where `init` has put everything; the certificate and its key are put there too.
        #[arg(long)]
        state_dir: PathBuf,
        /// The master key under which the VMs' keys are sealed; STATE_DIR/master.key unless given.
        #[arg(long, value_name = "FILE")]
        master_key: Option<PathBuf>,
        /// Who gets it: a name such as alice.
        #[arg(long)]
        owner: Name,
    },
    /// Run the service until SIGTERM or SIGINT.
    Serve {
        /// Where `init` has put everything.
        #[arg(long)]
        state_dir: PathBuf,
        /// The master key under which the VMs' keys are sealed; STATE_DIR/master.key unless given.
        #[arg(long, value_name = "FILE")]
        master_key: Option<PathBuf>,
        /// Where to listen, for REST and gRPC.
        #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7443")]
        listen: SocketAddr,
        /// How long a token lives, in seconds (1 to 86370).
        #[arg(long, value_name = "SECS", default_value_t = 3600)]
        token_life: u64,
        /// How long a host may go on without the registry, in seconds (1 to 86400).
        #[arg(long, value_name = "SECS", default_value_t = 3600)]
        lease: u64,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match Arguments::parse().command {
        Command::Init { state_dir, addresses } => make(&state_dir, &addresses),
        Command::Operator {
            state_dir,
            master_key,
            owner,
        } => rescue(&state_dir, master_key.as_deref(), &owner),
        Command::Serve {
            state_dir,
            master_key,
            listen,
            token_life,
            lease,
        } => match Settings::new(token_life, lease) {
            Ok(settings) => serve(&state_dir, master_key.as_deref(), listen, settings),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Our own errors tell their causes themselves; those of other libraries may not.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn make(state_dir: &Path, addresses: &[ServerAddress]) -> anyhow::Result<()> {
    let installation = init(state_dir, addresses).context("no installation was made")?;
    println!("installation {installation} made in {}", state_dir.display());
    Ok(())
}

fn rescue(state_dir: &Path, master_key: Option<&Path>, owner: &Name) -> anyhow::Result<()> {
    let made = make_operator(state_dir, master_key, owner).context("no operator certificate was made")?;
    println!(
        "{} made, with its key beside it: move both to where they are used",
        made.display()
    );
    Ok(())
}

/// What all places of the server together may need, and then some.
const DESCRIPTORS: u64 = 16_384;

/// The usual soft limit of 1024 is for programs that use `select`; a thousand agents need more. The service runs
/// with what it has if it may not have more.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = soft.max(hard.min(DESCRIPTORS));
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        Ok(wanted)
    });
    match raised {
        Ok(descriptors) if descriptors >= DESCRIPTORS => {}
        Ok(descriptors) => tracing::warn!(
            descriptors,
            "few file descriptors: more hosts than that cannot be served"
        ),
        Err(error) => tracing::warn!(%error, "the limit of file descriptors could not be raised"),
    }
}

fn serve(
    state_dir: &Path,
    master_key: Option<&Path>,
    listen: SocketAddr,
    settings: Settings,
) -> anyhow::Result<()> {
    raise_descriptors();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let running = start(state_dir, master_key, listen, settings, stop.clone())
            .await
            .context("the registry did not start")?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = %running.address(),
            token_life_secs = settings.token_life_secs(),
            lease_secs = settings.lease_secs(),
            "pairgate-registry serves"
        );
        notify::ready();
        tokio::spawn(notify::run(running.registry().clone(), stop.clone()));
        let on_signal = async {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
                _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
                // A failed disk stops the service from inside.
                () = stop.cancelled() => {}
            }
            notify::stopping();
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(running.wait(), on_signal);
        ended?;
        tracing::info!("stopped");
        Ok(())
    })
}
