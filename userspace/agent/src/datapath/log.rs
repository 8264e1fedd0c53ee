//! What the programs say about drops, when both they (`build-ebpf` with the feature `log`) and this agent were
//! built for finding faults. A release agent does not have this module.
use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};
use tracing::{debug, warn};

/// Hands the library's records to our own log.
struct Forward;

impl log::Log for Forward {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        debug!(target: "pairgate_datapath", "{}", record.args());
    }

    fn flush(&self) {}
}

/// Starts a task that reads the programs' log, if they keep one and a runtime is there to run it. The library
/// panics on a damaged record: then this task ends, and nothing else does.
pub(super) fn follow(ebpf: &mut Ebpf) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let Ok(logger) = EbpfLogger::init_with_logger(ebpf, Forward) else {
        return;
    };
    runtime.spawn(read(logger));
}

async fn read(logger: EbpfLogger<Forward>) {
    // SAFETY: the logger owns its ring's descriptor, keeps it open and never replaces it.
    let mut logger = match unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) } {
        Ok(logger) => logger,
        Err(error) => return warn!(%error, "cannot follow the log of the eBPF programs"),
    };
    while let Ok(mut ready) = logger.readable_mut().await {
        ready.get_inner_mut().flush();
        ready.clear_ready();
    }
}
