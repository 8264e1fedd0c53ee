//! Waiting for what the programs put into a ring.

use aya::maps::{MapData, RingBuf};
use std::io;
use tokio::io::{Interest, unix::AsyncFd};

/// The ring as something that can be waited for.
pub fn readable(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring's descriptor is that of its map; the ring owns it, never exchanges it, and lives in here
    // from now on.
    let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
    Ok(ring)
}
