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
pub(crate) const GSO_UFO: u8 = 3;
pub(crate) const GSO_TCPV6: u8 = 4;
pub(crate) const GSO_UDP_L4: u8 = 5;
/// With another type: TCP's congestion bit is set in the first segment only.
pub(crate) const GSO_ECN: u8 = 0x80;

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

    pub(crate) fn parse(bytes: &[u8]) -> Self {
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

/// Whether this kernel's taps take a packet of that kind: datagrams that are to be cut they know since Linux 6.2. Says
/// what is left out if not.
pub(crate) fn taps_know(gso_type: u8, what: &str) -> bool {
    if gso_type != GSO_UDP_L4 {
        return true;
    }
    let tap = Tap::new("knows");
    let offload = libc::TUN_F_CSUM | libc::TUN_F_USO4 | libc::TUN_F_USO6;
    // SAFETY: TUNSETOFFLOAD takes a number.
    let answer = unsafe { libc::ioctl(tap.file.as_raw_fd(), libc::TUNSETOFFLOAD as _, offload) };
    if answer < 0 {
        println!("left out, {what}: taps know no datagrams that are to be cut before Linux 6.2");
    }
    answer >= 0
}

impl Tap {
    pub(crate) fn new(name: &'static str) -> Self {
        let tap = Self {
            name,
            file: Self::attach(name),
        };
        // The guest's side takes unfinished checksums, so that the kernel does not finish them on the way.
        // SAFETY: TUNSETOFFLOAD takes a number.
        let answer = unsafe { libc::ioctl(tap.file.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::TUN_F_CSUM) };
        Errno::result(answer).expect("TUNSETOFFLOAD");
        tap
    }

    /// The guest takes finished checksums only: the kernel finishes what is not.
    pub(crate) fn takes_finished_only(&self) {
        // SAFETY: TUNSETOFFLOAD takes a number.
        let answer = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD as _, 0) };
        Errno::result(answer).expect("TUNSETOFFLOAD");
    }

    /// Lets a lasting tap go and takes it again, as a guest that is started anew.
    pub(crate) fn reopen(&mut self, between: impl FnOnce()) {
        let nothing = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).expect("/dev/null");
        drop(std::mem::replace(&mut self.file, nothing));
        between();
        self.file = Self::attach(self.name);
    }

    fn attach(name: &str) -> OwnedFd {
        let file = tun_file();
        become_queue(&file, name).expect("TUNSETIFF");
        file
    }

    /// The interface stays when this is dropped.
    pub(crate) fn persist(&self) {
        // SAFETY: TUNSETPERSIST takes a number.
        let answer = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETPERSIST as _, 1) };
        Errno::result(answer).expect("TUNSETPERSIST");
    }

    /// A guest that has room for so many bytes only, its virtio-net header included.
    pub(crate) fn receive_into(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        read(&self.file, bytes)
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

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Gives the host an address on this interface.
    pub(crate) fn set_address(&self, address: [u8; 4]) {
        let mut request = interface_request(self.name);
        // SAFETY: SIOCSIFADDR reads an IPv4 socket address from the request's union, where all zeros is one.
        unsafe {
            request.ifr_ifru.ifru_addr.sa_family = libc::AF_INET as u16;
            for (to, from) in request.ifr_ifru.ifru_addr.sa_data[2..].iter_mut().zip(address) {
                *to = from as _;
            }
        }
        ioctl(libc::SIOCSIFADDR, request);
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
        send_on(&self.file, vnet, frame)
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

fn tun_file() -> OwnedFd {
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    open("/dev/net/tun", flags, Mode::empty()).expect("/dev/net/tun")
}

/// Makes the file the queue of a tap, which is made if it is not there.
fn become_queue(file: &OwnedFd, name: &str) -> Result<(), Errno> {
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
    // SAFETY: TUNSETIFF reads and writes one ifreq.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    Errno::result(answer).map(drop)
}

pub(crate) fn send_on(file: &OwnedFd, vnet: Vnet, frame: &[u8]) -> Result<(), Errno> {
    let mut bytes = vnet.bytes().to_vec();
    bytes.extend(frame);
    write(file, &bytes).map(|written| assert_eq!(written, bytes.len(), "cut by the kernel"))
}

/// Takes a tap that somebody else has made, and never makes one: the thread gives up the right to.
pub(crate) fn attach_existing(name: &str) -> Result<OwnedFd, Errno> {
    give_up_all_capabilities();
    let file = tun_file();
    become_queue(&file, name).map(|()| file)
}

/// The same as a user without any rights, for a thread that ends afterwards.
pub(crate) fn attach_as_nobody(name: &str) -> Result<OwnedFd, Errno> {
    let file = tun_file();
    // The library's call would change the whole process; a user's rights are each thread's own.
    // SAFETY: three numbers.
    let answer = unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) };
    Errno::result(answer).expect("setresuid");
    become_queue(&file, name).map(|()| file)
}

/// This thread's capabilities, and no other's.
fn give_up_all_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    let (header, none) = ([VERSION_3, 0], [0_u32; 6]);
    // SAFETY: the kernel reads a header of two numbers and six more, as this version has them.
    let answer = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    Errno::result(answer).expect("capset");
}

/// A packet socket of the host on one interface.
pub(crate) struct RawSocket {
    socket: OwnedFd,
}

/// The host's own ear for one ethertype on one interface. Unlike a listener for everything, which hears a frame
/// as it comes from the device, it stands where the host's stack stands: behind the programs.
pub(crate) struct StackEar {
    socket: OwnedFd,
}

impl Tap {
    /// The host's own door to this interface, past all routing.
    pub(crate) fn raw_socket(&self) -> RawSocket {
        Self::raw_socket_on(self.name)
    }

    /// The same for any interface in the thread's namespace.
    pub(crate) fn raw_socket_on(name: &str) -> RawSocket {
        RawSocket {
            socket: packet_socket(name, 0),
        }
    }

    /// An ear for what leaves by one of an interface's queues.
    pub(crate) fn queue_ear(name: &str, queue: u32) -> StackEar {
        let socket = packet_socket(name, libc::ETH_P_ALL as u16);
        let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
        let queue_of_packet = (libc::SKF_AD_OFF + libc::SKF_AD_QUEUE) as u32;
        let mut steps = [
            step(0x20, 0, queue_of_packet), // load it
            step(0x15, 1, queue),           // compare
            step(0x06, 0, 0xffff),          // take the packet
            step(0x06, 0, 0),               // do not
        ];
        let filter = libc::sock_fprog {
            len: 4,
            filter: steps.as_mut_ptr(),
        };
        let size = size_of::<libc::sock_fprog>() as u32;
        // SAFETY: the kernel reads a filter of four steps, which live through the call.
        let answer = unsafe {
            let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const filter).cast(),
                size,
            )
        };
        Errno::result(answer).expect("SO_ATTACH_FILTER");
        StackEar { socket }
    }

    /// An ear of the host behind the programs of this interface.
    pub(crate) fn stack_ear(&self, ethertype: u16) -> StackEar {
        StackEar {
            socket: packet_socket(self.name, ethertype),
        }
    }
}

/// A packet socket bound to an interface; it hears frames of one ethertype, or nothing if that is 0.
fn packet_socket(name: &str, ethertype: u16) -> OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).expect("socket");
    // SAFETY: all zeros is an empty link-layer address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = nix::net::if_::if_nametoindex(name).expect("interface") as i32;
    let size = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the address is a sockaddr_ll of the size given.
    let answer = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    Errno::result(answer).expect("bind");
    socket
}

impl StackEar {
    /// A frame that reached the host's stack, if one has.
    pub(crate) fn heard(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 2048];
        match read(&self.socket, &mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                Some(bytes)
            }
            Err(Errno::EAGAIN) => None,
            Err(error) => panic!("listening: {error}"),
        }
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
