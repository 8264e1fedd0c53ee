//! Raw Ethernet frames on one interface: sending any, and watching what comes in.

use nix::{
    cmsg_space, libc,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
};
use std::{
    ffi::CString,
    io::{self, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

/// Sends frames as they are.
#[derive(Debug)]
pub struct RawSender(OwnedFd);

impl RawSender {
    /// On an interface of this namespace.
    pub fn open(interface: &str) -> io::Result<Self> {
        packet_socket(interface, 0).map(Self)
    }

    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and length are those of a live slice.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// Most frames that one call can send.
const MOST_AT_ONCE: usize = 64;

impl RawSender {
    /// Hands frames to the interface itself, past its queue: what it does not take is lost.
    pub fn pass_queue_by(&self) -> io::Result<()> {
        self.set(libc::PACKET_QDISC_BYPASS)
    }

    fn set(&self, option: libc::c_int) -> io::Result<()> {
        let yes: libc::c_int = 1;
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        let (socket, value) = (self.0.as_raw_fd(), (&raw const yes).cast());
        // SAFETY: the value lives through the call, and `length` is its size.
        let done = unsafe { libc::setsockopt(socket, libc::SOL_PACKET, option, value, length) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// From now on each frame begins with a virtio-net header of 10 bytes, as `PACKET_VNET_HDR` has it.
    pub fn announce_header(&self) -> io::Result<()> {
        self.set(libc::PACKET_VNET_HDR)
    }

    /// Sends one frame `times` times, but no more than 64, in one call.
    pub fn send_many(&self, frame: &[u8], times: usize) -> io::Result<()> {
        let mut part = libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: every field of this C structure is a number or an address: zero is valid.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
        let mut messages = [message; MOST_AT_ONCE];
        let times = times.min(MOST_AT_ONCE) as libc::c_uint;
        // SAFETY: the messages and what they point to live through the call; sending only reads the frame.
        let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), times, 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl RawSender {
    /// Sends these frames, but no more than the first 64, in one call.
    pub fn send_all(&self, frames: &[Vec<u8>]) -> io::Result<()> {
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .take(MOST_AT_ONCE)
            .map(|frame| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        // SAFETY: every field of this C structure is a number or an address: zero is valid.
        let empty: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                let mut message = empty;
                message.msg_hdr.msg_iov = std::ptr::from_mut(part);
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let many = messages.len() as libc::c_uint;
        // SAFETY: the messages and what they point to live through the call; sending only reads the frames.
        let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), many, 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// A frame that came in, and when the kernel took it.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub at: SystemTime,
}

/// Frames that come in by an interface, or that leave by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Collects the incoming frames of an interface that a filter takes, until dropped.
#[derive(Debug)]
pub struct Sniffer {
    caught: Arc<(Mutex<Vec<Frame>>, Condvar)>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

/// How often a sniffer that hears nothing looks whether it should stop.
const LOOK_EVERY_MICROS: i64 = 20_000;
/// Kernel buffer: a second of a fast flood, so that a busy machine loses nothing.
const BUFFER_BYTES: usize = 64 << 20;

impl Sniffer {
    /// On an interface of this namespace. When this returns, every later frame is seen.
    pub fn start(interface: &str, takes: impl Fn(&[u8]) -> bool + Send + 'static) -> io::Result<Self> {
        Self::start_for(interface, libc::ETH_P_ALL as u16, takes)
    }

    /// Sees what leaves by the interface, behind its programs.
    pub fn start_leaving(
        interface: &str,
        takes: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        Self::run(interface, libc::ETH_P_ALL as u16, Way::Out, takes)
    }

    /// Sees what reaches the stack behind the interface's programs, and of that the frames of one ethertype; what the
    /// programs drop or send elsewhere is not seen.
    pub fn start_for(
        interface: &str,
        ethertype: u16,
        takes: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        Self::run(interface, ethertype, Way::In, takes)
    }

    fn run(
        interface: &str,
        ethertype: u16,
        way: Way,
        takes: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let socket = packet_socket(interface, ethertype)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        let patience = nix::sys::time::TimeVal::new(0, LOOK_EVERY_MICROS);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
        let caught = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (list, seen) = (caught.clone(), stop.clone());
        let worker = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                if let Some(frame) = receive(&socket, way).filter(|frame| takes(&frame.bytes)) {
                    list.0.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
                    list.1.notify_all();
                }
            }
        });
        Ok(Self {
            caught,
            stop,
            worker: Some(worker),
        })
    }

    /// What was caught so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.caught
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn count(&self) -> usize {
        self.caught.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether `count` frames were caught before `patience` was over.
    pub fn wait_for(&self, count: usize, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut list = self.caught.0.lock().unwrap_or_else(PoisonError::into_inner);
        while list.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            list = self
                .caught
                .1
                .wait_timeout(list, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

/// The next frame that goes this way, or none if nothing came for a while.
fn receive(socket: &OwnedFd, way: Way) -> Option<Frame> {
    let mut bytes = vec![0; 65_536];
    let mut space = cmsg_space!(libc::timespec);
    let (len, at) = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<nix::sys::socket::LinkAddr>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::MSG_TRUNC,
        )
        .ok()?;
        // SAFETY: a packet socket's addresses are `sockaddr_ll`, which is what `LinkAddr` wraps.
        let kind = message
            .address
            .as_ref()
            .map(|address| address.as_ref().sll_pkttype);
        if (kind == Some(libc::PACKET_OUTGOING)) != (way == Way::Out) {
            return None;
        }
        let at = message.cmsgs().ok()?.find_map(|extra| {
            if let ControlMessageOwned::ScmTimestampns(at) = extra {
                Some(at)
            } else {
                None
            }
        })?;
        (
            message.bytes,
            Duration::new(at.tv_sec() as u64, at.tv_nsec() as u32),
        )
    };
    bytes.truncate(len);
    Some(Frame {
        bytes,
        at: SystemTime::UNIX_EPOCH + at,
    })
}

/// A packet socket bound to one interface; protocol 0 receives nothing.
fn packet_socket(interface: &str, protocol: u16) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain system call; the result is checked and owned at once.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and length are those of a live `sockaddr_ll`.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if bound < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(socket)
    }
}
