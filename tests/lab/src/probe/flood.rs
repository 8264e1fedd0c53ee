//! A bounded stream of numbered UDP datagrams.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Sends numbered datagrams until stopped, dropped, or at its end.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    worker: Option<JoinHandle<()>>,
}

/// What a flood did.
#[derive(Clone, Copy, Debug)]
pub struct FloodReport {
    pub sent: u64,
}

impl Flood {
    /// Sends to `to`, at most `per_second` datagrams a second and for at most `longest`; call inside the
    /// namespace. A datagram starts with its number, 8 bytes in network order, and has `len` bytes.
    pub fn start(
        from: SocketAddr,
        to: SocketAddr,
        per_second: u32,
        len: usize,
        longest: Duration,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (seen, count) = (stop.clone(), sent.clone());
        let gap = Duration::from_secs(1) / per_second.max(1);
        let worker = std::thread::spawn(move || {
            let start = Instant::now();
            let mut datagram = vec![0; len.max(8)];
            while !seen.load(Ordering::Relaxed) && start.elapsed() < longest {
                let number = count.load(Ordering::Relaxed);
                datagram[..8].copy_from_slice(&number.to_be_bytes());
                // Refusals (an ICMP error, a full queue) are part of what floods meet.
                let _ = socket.send(&datagram);
                count.store(number + 1, Ordering::Relaxed);
                let due = gap.mul_f64(number as f64 + 1.0);
                if let Some(early) = due.checked_sub(start.elapsed()) {
                    std::thread::sleep(early);
                }
            }
        });
        Ok(Self {
            stop,
            sent,
            worker: Some(worker),
        })
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub fn stop(mut self) -> FloodReport {
        self.end();
        FloodReport { sent: self.sent() }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}
