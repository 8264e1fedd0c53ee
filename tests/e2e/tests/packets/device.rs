//! Taps with virtio-net headers: what a guest can say with them, and what it gets.
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
    unistd::{read, write},
};
use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

/// Bytes of the virtio-net header in front of every frame.
pub(crate) const VNET: usize = 10;
pub(crate) const NEEDS_CHECKSUM: u8 = 1;
pub(crate) const GSO_TCPV4: u8 = 1;
pub(crate) const GSO_UDP_L4: u8 = 5;

/// A virtio-net header, with whatever a guest likes to claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vnet {
    pub(crate) flags: u8,
    pub(crate) gso_type: u8,
    pub(crate) header_length: u16,
    pub(crate) gso_size: u16,
    pub(crate) checksum_start: u16,
    pub(crate) checksum_offset: u16,
}

impl Vnet {
    pub(crate) fn partial(start: u16, offset: u16) -> Self {
        Self {
            flags: NEEDS_CHECKSUM,
            checksum_start: start,
            checksum_offset: offset,
            ..Self::default()
        }
    }

    fn bytes(self) -> [u8; VNET] {
        let mut bytes = [0; VNET];
        bytes[0] = self.flags;
        bytes[1] = self.gso_type;
        for (at, number) in [
            self.header_length,
            self.gso_size,
            self.checksum_start,
            self.checksum_offset,
        ]
        .into_iter()
        .enumerate()
        {
            bytes[2 + at * 2..4 + at * 2].copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Self {
        let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            header_length: number(2),
            gso_size: number(4),
            checksum_start: number(6),
            checksum_offset: number(8),
        }
    }
}

/// A tap in the thread's network namespace. It is down until `up` is called, and gone when this is dropped.
pub(crate) struct Tap {
    name: &'static str,
    file: OwnedFd,
}

impl Tap {
    pub(crate) fn new(name: &'static str) -> Self {
        let file = open(
            "/dev/net/tun",
            OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .expect("/dev/net/tun");
        let mut request = interface_request(name);
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
        // SAFETY: TUNSETIFF reads and writes one ifreq.
        let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
        Errno::result(answer).expect("TUNSETIFF");
        let tap = Self { name, file };
        // The guest's side takes unfinished checksums, so that the kernel does not finish them on the way.
        // SAFETY: TUNSETOFFLOAD takes a number.
        let answer = unsafe { libc::ioctl(tap.file.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::TUN_F_CSUM) };
        Errno::result(answer).expect("TUNSETOFFLOAD");
        tap
    }

    pub(crate) fn index(&self) -> u32 {
        nix::net::if_::if_nametoindex(self.name).expect("the tap exists while its file is open")
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        Self::mac_of(self.name)
    }

    /// MAC address of any interface in the thread's namespace.
    pub(crate) fn mac_of(name: &str) -> [u8; 6] {
        let request = ioctl(libc::SIOCGIFHWADDR, interface_request(name));
        // SAFETY: the kernel has filled in a hardware address.
        let data = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
        std::array::from_fn(|at| data[at] as u8)
    }

    pub(crate) fn up(&self) {
        self.set_flags(libc::IFF_UP);
    }

    pub(crate) fn down(&self) {
        self.set_flags(0);
    }

    fn set_flags(&self, flags: i32) {
        let mut request = interface_request(self.name);
        request.ifr_ifru.ifru_flags = flags as i16;
        ioctl(libc::SIOCSIFFLAGS, request);
    }

    /// A lasting neighbour entry, so that nobody has to answer ARP.
    pub(crate) fn neighbour(&self, address: [u8; 4], mac: [u8; 6]) {
        // SAFETY: all zeros is an empty arpreq.
        let mut request: libc::arpreq = unsafe { std::mem::zeroed() };
        request.arp_pa.sa_family = libc::AF_INET as u16;
        for (to, from) in request.arp_pa.sa_data[2..].iter_mut().zip(address) {
            *to = from as _;
        }
        request.arp_ha.sa_family = libc::ARPHRD_ETHER;
        for (to, from) in request.arp_ha.sa_data.iter_mut().zip(mac) {
            *to = from as _;
        }
        request.arp_flags = libc::ATF_PERM | libc::ATF_COM;
        for (to, from) in request.arp_dev.iter_mut().zip(self.name.bytes()) {
            *to = from as _;
        }
        let socket = control_socket();
        // SAFETY: SIOCSARP reads one arpreq.
        let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSARP, &raw const request) };
        Errno::result(answer).expect("SIOCSARP");
    }

    /// What the machine behind the tap sends. The kernel's refusal is returned, not hidden.
    pub(crate) fn send(&self, vnet: Vnet, frame: &[u8]) -> Result<(), Errno> {
        let mut bytes = vnet.bytes().to_vec();
        bytes.extend(frame);
        write(&self.file, &bytes).map(|written| assert_eq!(written, bytes.len(), "cut by the kernel"))
    }

    /// The next frame for the machine behind the tap that `wanted` accepts, if it comes within `patience`.
    pub(crate) fn receive(
        &self,
        patience: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<(Vnet, Vec<u8>)> {
        let end = Instant::now() + patience;
        let mut bytes = vec![0; 70_000];
        loop {
            match read(&self.file, &mut bytes) {
                Ok(length) if wanted(&bytes[VNET..length]) => {
                    return Some((Vnet::parse(&bytes), bytes[VNET..length].to_vec()));
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => {
                    let left = end.checked_duration_since(Instant::now())?;
                    let timeout = PollTimeout::try_from(left).expect("short patience");
                    let mut files = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
                    poll(&mut files, timeout).expect("poll");
                    if left.is_zero() {
                        return None;
                    }
                }
                Err(error) => panic!("reading tap {}: {error}", self.name),
            }
        }
    }
}

/// A packet socket of the host on one interface.
pub(crate) struct RawSocket {
    socket: OwnedFd,
}

impl Tap {
    /// The host's own door to this interface, past all routing.
    pub(crate) fn raw_socket(&self) -> RawSocket {
        Self::raw_socket_on(self.name)
    }

    /// The same for any interface in the thread's namespace.
    pub(crate) fn raw_socket_on(name: &str) -> RawSocket {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("socket");
        // SAFETY: all zeros is an empty link-layer address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = nix::net::if_::if_nametoindex(name).expect("interface") as i32;
        let size = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address is a sockaddr_ll of the size given.
        let answer = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
        Errno::result(answer).expect("bind");
        RawSocket { socket }
    }
}

impl RawSocket {
    pub(crate) fn set_mark(&self, mark: u32) {
        nix::sys::socket::setsockopt(&self.socket, nix::sys::socket::sockopt::Mark, &mark).expect("SO_MARK");
    }

    /// The kernel tells a packet socket that its frame was dropped on the way out: `ENOBUFS`.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<usize, Errno> {
        write(&self.socket, frame)
    }
}

fn ioctl(number: libc::c_ulong, mut request: libc::ifreq) -> libc::ifreq {
    let socket = control_socket();
    // SAFETY: all numbers used here read and write one ifreq.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), number as _, &raw mut request) };
    Errno::result(answer).expect("interface ioctl");
    request
}

fn control_socket() -> OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("socket")
}

fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: all zeros is an empty ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = CString::new(name).expect("no zero in a name");
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = *from as _;
    }
    request
}
