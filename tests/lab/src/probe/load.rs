//! Measurements of what a way carries: a TCP stream, small datagrams, questions and answers. Numbers mean
//! something only beside those of another way on the same machine in the same minute.

use super::{EchoServer, RawSender};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A connection or an answer that takes longer than this does not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// What one write or read moves at most.
const CHUNK: usize = 256 * 1024;
/// Frames that one call hands to the kernel.
const BATCH: usize = 64;

/// Takes one TCP connection and throws away what comes.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    received: Arc<AtomicU64>,
    worker: Option<JoinHandle<io::Result<()>>>,
}

impl Sink {
    /// Listens on a free port; call inside the namespace.
    pub fn start(at: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((at, 0))?;
        let address = listener.local_addr()?;
        let received = Arc::new(AtomicU64::new(0));
        let count = received.clone();
        let worker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut buffer = vec![0; CHUNK];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    length => count.fetch_add(length as u64, Ordering::Relaxed),
                };
            }
        });
        Ok(Self {
            address,
            received,
            worker: Some(worker),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the sender has closed, and returns how many bytes came.
    pub fn finish(mut self) -> io::Result<u64> {
        if let Some(worker) = self.worker.take() {
            worker
                .join()
                .map_err(|_| io::Error::other("the receiver of a stream panicked"))??;
        }
        Ok(self.received.load(Ordering::Relaxed))
    }
}

/// Sends as much as the way takes for so long, and returns how many segments had to be sent again; call inside
/// the namespace.
pub fn pour(to: SocketAddr, how_long: Duration) -> io::Result<u32> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let bytes = vec![0x5a; CHUNK];
    let start = Instant::now();
    while start.elapsed() < how_long {
        stream.write_all(&bytes)?;
    }
    sent_again(&stream)
}

fn sent_again(stream: &TcpStream) -> io::Result<u32> {
    // SAFETY: every field of this C structure is a number: zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: the structure lives through the call, and `length` says how large it is.
    let got = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            level,
            name,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info.tcpi_total_retrans)
}

/// Sends one frame again and again, as fast as the interface takes it, until dropped.
#[derive(Debug)]
pub struct Hail {
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Hail {
    /// The same with many frames, in turn, on a processor of its own if one is given.
    pub fn of_many(interface: &str, frames: Vec<Vec<u8>>, processor: Option<usize>) -> io::Result<Self> {
        let sender = RawSender::open(interface)?;
        sender.pass_queue_by()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let worker = std::thread::spawn(move || {
            if let Some(processor) = processor {
                // Where it may not choose, it runs wherever it is put.
                let _ = keep_to(&[processor]);
            }
            for some in frames.chunks(BATCH).cycle() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                if sender.send_all(some).is_err() {
                    // A full interface does not end a hail.
                    std::thread::yield_now();
                }
            }
        });
        Ok(Self {
            stop,
            worker: Some(worker),
        })
    }

    /// From an interface of this namespace; call inside it.
    pub fn start(interface: &str, frame: Vec<u8>) -> io::Result<Self> {
        let sender = RawSender::open(interface)?;
        sender.pass_queue_by()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let worker = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                if sender.send_many(&frame, BATCH).is_err() {
                    // A full interface does not end a hail.
                    std::thread::yield_now();
                }
            }
        });
        Ok(Self {
            stop,
            worker: Some(worker),
        })
    }
}

/// Keeps this thread, and those that it starts, to some processors.
pub fn keep_to(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

impl Drop for Hail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

/// Round trips of one byte over a TCP connection, one after the other; call inside the namespace.
pub fn ask(server: &EchoServer, rounds: usize) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect_timeout(&server.address(), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0_u8];
    let mut trips = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        trips.push(start.elapsed());
    }
    Ok(trips)
}
