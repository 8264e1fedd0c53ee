//! Numbered UDP datagrams, small ones and big packets of many, with every byte compared and their order watched.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc, Barrier, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Bytes of a datagram's number.
const NUMBER: usize = 8;
/// `UDP_SEGMENT`: the socket's packets are cut into datagrams of this size, by whoever must.
const UDP_SEGMENT: libc::c_int = 103;
/// Kernel buffer, so that a busy machine loses nothing.
const BUFFER_BYTES: libc::c_int = 32 << 20;
/// How often a waiting catcher looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Datagrams handed to the kernel as one packet.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    pub count: u16,
    /// Payload of each, at least the 8 bytes of its number.
    pub size: u16,
}

/// How bursts follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many are made ready and then sent on each other's heels.
    pub together: usize,
    /// After them it rests, so that nobody's queue runs over.
    pub rest: Duration,
    /// While they are sent no other thread gets a turn on any CPU: a thread of the kernel's that is to receive them
    /// finds all of them at once, as on a busy host. Needs root.
    pub alone: bool,
}

impl Pace {
    /// One after the other, with a rest after each.
    pub const fn each(rest: Duration) -> Self {
        Self {
            together: 1,
            rest,
            alone: false,
        }
    }
}

/// Sends the bursts, each datagram with its number; call inside the namespace. Returns how many datagrams were sent.
pub fn send_numbered(
    from: IpAddr,
    to: SocketAddr,
    bursts: impl IntoIterator<Item = Burst>,
    pace: Pace,
) -> io::Result<u64> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(to)?;
    let mut next = 0;
    let mut ready = Vec::with_capacity(pace.together);
    let mut bursts = bursts.into_iter().peekable();
    while let Some(burst) = bursts.next() {
        let size = usize::from(burst.size).max(NUMBER);
        let mut packet = Vec::with_capacity(size * usize::from(burst.count));
        for _ in 0..burst.count {
            packet.extend(payload(next, size));
            next += 1;
        }
        ready.push((burst.size, packet));
        if ready.len() < pace.together && bursts.peek().is_some() {
            continue;
        }
        let mut send = || {
            for (size, packet) in ready.drain(..) {
                let size = libc::c_int::from(size);
                set(&socket, libc::IPPROTO_UDP, UDP_SEGMENT, size)?;
                socket.send(&packet)?;
            }
            Ok(())
        };
        if pace.alone {
            alone(send)?
        } else {
            send()?
        }
        std::thread::sleep(pace.rest);
    }
    Ok(next)
}

/// Runs `work` on a thread that nothing interrupts, while threads that do nothing keep every other CPU; as far as the
/// machine lets it.
fn alone<T: Send>(mut work: impl FnMut() -> io::Result<T> + Send) -> io::Result<T> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut cpus = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    let own = cpus.next().unwrap_or(0);
    let others: Vec<_> = cpus.collect();
    let (ready, done) = (Barrier::new(1 + others.len()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (ready, done) = (&ready, &done);
        let worker = scope.spawn(move || {
            keep(own);
            ready.wait();
            let result = work();
            done.store(true, Ordering::Release);
            result
        });
        for cpu in others {
            scope.spawn(move || {
                let kept = keep(cpu);
                ready.wait();
                while kept && !done.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
            });
        }
        worker.join().map_err(|_| io::Error::other("a sender panicked"))?
    })
}

/// From now on this thread has that CPU before every ordinary thread; whether it was granted.
fn keep(cpu: usize) -> bool {
    let this = Pid::from_raw(0);
    let mut only = CpuSet::new();
    let pinned = only.set(cpu).and_then(|()| sched_setaffinity(this, &only));
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure lives through the call, which concerns this thread alone.
    pinned.is_ok() && unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) } == 0
}

/// The number, and bytes that no other number and no shift of it has.
fn payload(number: u64, size: usize) -> impl Iterator<Item = u8> {
    let rest = (NUMBER..size).map(move |at| ((number * 31 + at as u64) % 251) as u8);
    number.to_be_bytes().into_iter().chain(rest)
}

/// What has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caught {
    pub datagrams: u64,
    /// Came after one with a higher number.
    pub late: u64,
    /// Were not as they were sent.
    pub damaged: u64,
    highest: Option<u64>,
}

/// Takes datagrams in until dropped.
#[derive(Debug)]
pub struct Catcher {
    address: SocketAddr,
    caught: Arc<Mutex<Caught>>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Catcher {
    /// On a free port; call inside the namespace.
    pub fn start(at: IpAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((at, 0))?;
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER_BYTES)?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let address = socket.local_addr()?;
        let (caught, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (list, seen): (Arc<Mutex<Caught>>, _) = (Arc::clone(&caught), stop.clone());
        let worker = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !seen.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else {
                    continue;
                };
                let mut caught = list.lock().unwrap_or_else(PoisonError::into_inner);
                caught.note(&buffer[..length]);
            }
        });
        Ok(Self {
            address,
            caught,
            stop,
            worker: Some(worker),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come once there were `count`, or `patience` was over.
    pub fn wait_for(&self, count: u64, patience: Duration) -> Caught {
        let until = Instant::now() + patience;
        loop {
            let caught = *self.caught.lock().unwrap_or_else(PoisonError::into_inner);
            if caught.datagrams >= count || Instant::now() >= until {
                return caught;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Caught {
    fn note(&mut self, datagram: &[u8]) {
        self.datagrams += 1;
        let number = datagram.get(..NUMBER).and_then(|bytes| bytes.try_into().ok());
        let Some(number) = number.map(u64::from_be_bytes) else {
            self.damaged += 1;
            return;
        };
        let same = payload(number, datagram.len())
            .zip(datagram)
            .all(|(sent, got)| sent == *got);
        self.damaged += u64::from(!same);
        self.late += u64::from(self.highest.is_some_and(|highest| number < highest));
        self.highest = Some(self.highest.map_or(number, |highest| highest.max(number)));
    }
}

fn set(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value lives through the call, and `length` is its size.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_every_shape_come_as_they_were_sent() {
        let catcher = Catcher::start([127, 0, 0, 1].into()).unwrap();
        let bursts = [(1, 8), (40, 1_000), (1, 1_400), (3, 9)].map(|(count, size)| Burst { count, size });
        let pace = Pace::each(Duration::from_micros(10));
        let sent = send_numbered([127, 0, 0, 1].into(), catcher.address(), bursts, pace).unwrap();
        let caught = catcher.wait_for(sent, Duration::from_secs(5));
        assert_eq!(
            (sent, caught.datagrams, caught.late, caught.damaged),
            (45, 45, 0, 0)
        );
    }

    #[test]
    fn a_late_and_a_damaged_datagram_are_noticed() {
        let mut caught = Caught::default();
        for number in [0, 2, 1] {
            caught.note(&payload(number, 50).collect::<Vec<_>>());
        }
        assert_eq!((caught.late, caught.damaged), (1, 0));
        let mut damaged: Vec<_> = payload(3, 50).collect();
        damaged[40] ^= 1;
        caught.note(&damaged);
        assert_eq!((caught.late, caught.damaged), (1, 1));
    }
}
