//! A small host of its own: namespaces, a guest's tap, an uplink, the loaded programs and a pair each way.
use crate::{counts::Counts, device::Tap, others};
use aya::maps::{MapData, RingBuf};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use pairgate_abi::{Budget, Direction, DropReason, Held, OWN_ADDRESSES, OutKey, Question, TapEntry};
use pairgate_agent::datapath::{Hook, LoadOptions, Loaded, Pod, running_features};
use pairgate_packet::{address::wide, ip::Family};
use std::{net::IpAddr, path::Path};
use zerocopy::FromBytes;

pub(crate) const GATEWAY: [u8; 6] = pairgate_abi::GATEWAY_MAC;
pub(crate) const GUEST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];
pub(crate) const GUEST: [u8; 4] = [10, 77, 0, 11];
pub(crate) const PREFIX: u8 = 24;
pub(crate) const PEER: [u8; 4] = [10, 77, 0, 21];
/// A peer whose entry has ended.
pub(crate) const EXPIRED_PEER: [u8; 4] = [10, 77, 0, 31];
/// A peer on a host to which no way is known.
pub(crate) const LOST_PEER: [u8; 4] = [10, 77, 0, 32];
/// A peer to which only some ports are open.
pub(crate) const GRANTED_PEER: [u8; 4] = [10, 77, 0, 33];
/// A peer that may only be answered.
pub(crate) const ANSWERED_PEER: [u8; 4] = [10, 77, 0, 34];
/// A peer on the same host.
pub(crate) const NEXT_DOOR: [u8; 4] = [10, 77, 0, 35];
pub(crate) const NEXT_DOOR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x35];
/// A peer that takes less than the guest sends.
pub(crate) const NARROW_PEER: [u8; 4] = [10, 77, 0, 36];
pub(crate) const NARROW_MTU: u16 = 80;
/// The guest's IPv6 address; those of its peers have the last byte of the IPv4 ones.
pub(crate) const GUEST6: [u8; 16] = six(GUEST);
pub(crate) const PEER6: [u8; 16] = six(PEER);
pub(crate) const HOST6: [u8; 16] = host_six(1);
pub(crate) const PEER_HOST6: [u8; 16] = host_six(2);
pub(crate) const HOST: [u8; 4] = [192, 0, 2, 1];
pub(crate) const PEER_HOST: [u8; 4] = [192, 0, 2, 2];
pub(crate) const LOST_HOST: [u8; 4] = [192, 0, 2, 3];
pub(crate) const PORT: u16 = 4789;
pub(crate) const SLOT: u32 = 7;
pub(crate) const MTU: u16 = 1400;
pub(crate) const NEIGHBOUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x99, 0x02];
pub(crate) const FOREVER: u64 = u64::MAX;
/// Slot of the guest next door.
pub(crate) const DOOR_SLOT: u32 = 8;

/// The IPv6 address of the guest with that IPv4 address: `fd77::<last byte>`.
pub(crate) const fn six(four: [u8; 4]) -> [u8; 16] {
    [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, four[3]]
}

/// `2001:db8:0:1::<last>`.
pub(crate) const fn host_six(last: u8) -> [u8; 16] {
    [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, last]
}

pub(crate) struct World {
    pub(crate) loaded: Loaded,
    pub(crate) guest: Tap,
    /// The tap of another guest on the same host.
    pub(crate) door: Tap,
    pub(crate) uplink: Tap,
    /// The host's underlay address.
    pub(crate) host: IpAddr,
    held: RingBuf<MapData>,
    questions: RingBuf<MapData>,
}

/// Moves the thread into namespaces of its own, with a BPF file system at `/sys/fs/bpf` that dies with them.
pub(crate) fn enter_own_namespaces() {
    assert!(
        geteuid().is_root(),
        "these tests load eBPF programs and make taps: run them as root"
    );
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("own namespaces");
    let nothing = None::<&str>;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )
    .expect("private mounts");
    // Otherwise the kernel's own multicast reports on the taps would be counted. The thread's namespace, not the host's.
    let _without_ipv6 = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), nothing).expect("own bpffs");
}

pub(crate) const PIN_DIR: &str = "/sys/fs/bpf/pairgate";

pub(crate) fn load(uplink: u32) -> Loaded {
    load_host(PIN_DIR, (uplink, 0), HOST.into())
}

/// Loads the programs of a host with these two interfaces: its uplink, and its VXLAN device or 0.
pub(crate) fn load_host(pin_dir: &str, doors: (u32, u32), host: IpAddr) -> Loaded {
    load_by(others::wanted_hook(), pin_dir, doors, host)
}

/// The same, attached in this way.
pub(crate) fn load_by(
    hook: Option<Hook>,
    pin_dir: &str,
    (uplink, vxlan): (u32, u32),
    host: IpAddr,
) -> Loaded {
    let options = LoadOptions {
        pin_dir: Path::new(pin_dir),
        uplink,
        vxlan,
        host,
        port: PORT,
    };
    let loaded = match hook {
        Some(hook) => Loaded::load_for(&options, hook),
        None => Loaded::load(&options),
    };
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

/// Of so many repetitions, those that the caller of the suite wants on a slow machine: `PAIRGATE_PERCENT` of them.
pub(crate) fn share(count: usize) -> usize {
    let percent = std::env::var("PAIRGATE_PERCENT").ok();
    let percent = percent.map_or(100, |text| text.parse().expect("PAIRGATE_PERCENT is a number"));
    (count * percent / 100).max(1)
}

/// Key of the pair from a tap to a peer.
pub(crate) fn out_key(tap: u32, peer: [u8; 4]) -> OutKey {
    OutKey {
        source: wide(GUEST),
        destination: wide(peer),
        tap,
    }
}

/// The same between the IPv6 addresses.
pub(crate) fn out_key6(tap: u32, peer: [u8; 4]) -> OutKey {
    OutKey {
        source: GUEST6,
        destination: six(peer),
        tap,
    }
}

impl World {
    /// Everything in place and nothing attached.
    pub(crate) fn new() -> Self {
        Self::on(HOST.into())
    }

    /// The same on a host with this underlay address, and without a VXLAN device.
    pub(crate) fn on(host: IpAddr) -> Self {
        Self::with_device(host, 0)
    }

    /// The same on a host whose programs know of a VXLAN device with this index. A test run shows what is left to it.
    pub(crate) fn with_device(host: IpAddr, vxlan: u32) -> Self {
        enter_own_namespaces();
        let (guest, door, uplink) = (Tap::new("guest"), Tap::new("door"), Tap::new("uplink"));
        let loaded = load_host(PIN_DIR, (uplink.index(), vxlan), host);
        let (held, questions) = (loaded.held().unwrap(), loaded.questions().unwrap());
        let world = Self {
            loaded,
            guest,
            door,
            uplink,
            host,
            held,
            questions,
        };
        world.fill();
        world
    }

    /// Everything in place, the programs attached and the devices up.
    pub(crate) fn running() -> Self {
        let mut world = Self::new();
        world.loaded.attach_uplink("uplink").unwrap();
        world.loaded.attach_tap("guest").unwrap();
        world.loaded.attach_tap("door").unwrap();
        world.guest.up();
        world.door.up();
        world.uplink.up();
        world.uplink.neighbour(PEER_HOST, NEIGHBOUR_MAC);
        world
    }

    /// True if packets of this family can only come out by the VXLAN device: before Linux 6.3 a program that takes the
    /// outer header off cannot say that what comes out is of another family.
    pub(crate) fn is_by_device(&self, family: Family) -> bool {
        let underlay = if self.host.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        family != underlay && !running_features().unwrap().takes_off_other_family
    }

    /// The next packet that the agent is to hold.
    pub(crate) fn next_held(&mut self) -> Option<Held> {
        let record = self.held.next()?;
        Some(Held::read_from_bytes(&record).unwrap())
    }

    /// The next question for configuration that the agent would get.
    pub(crate) fn next_question(&mut self) -> Option<Question> {
        let record = self.questions.next()?;
        Some(Question::read_from_bytes(&record).unwrap())
    }

    pub(crate) fn tap_entry() -> TapEntry {
        tap_entry(GUEST_MAC, SLOT, &[(wide(GUEST), 96 + PREFIX), (GUEST6, 64)])
    }

    fn fill(&self) {
        let mut taps = self.loaded.taps().unwrap();
        taps.insert(self.guest.index(), Pod(Self::tap_entry()), 0)
            .unwrap();
        let door = tap_entry(
            NEXT_DOOR_MAC,
            DOOR_SLOT,
            &[(wide(NEXT_DOOR), 120), (six(NEXT_DOOR), 64)],
        );
        taps.insert(self.door.index(), Pod(door), 0).unwrap();
        let mut out = self.loaded.pairs_out().unwrap();
        for (key, entry) in self.known_pairs() {
            out.insert(Pod(key), Pod(entry), 0).unwrap();
        }
        let mut pairs_in = self.loaded.pairs_in().unwrap();
        for (handle, entry) in self.known_handles() {
            pairs_in.insert(Pod(handle), Pod(entry), 0).unwrap();
        }
        let mut next_hops = self.loaded.next_hops().unwrap();
        next_hops.insert(self.hosts().1, Pod(self.next_hop()), 0).unwrap();
        self.set_lease(FOREVER);
    }

    pub(crate) fn set_lease(&self, until_ns: u64) {
        self.loaded.lease().unwrap().set(0, until_ns, 0).unwrap();
    }

    pub(crate) fn reset_budget(&self) {
        let mut budgets = self.loaded.budgets().unwrap();
        for slot in [0, SLOT] {
            budgets.set(slot, Pod(Budget::default()), 0).unwrap();
        }
        self.loaded.released().unwrap().set(SLOT, 0, 0).unwrap();
    }

    /// How often one reason was counted for what the guest sent.
    pub(crate) fn dropped(&self, slot: u32, reason: DropReason) -> u64 {
        let index = pairgate_abi::drop_index(slot, Direction::FromTap, reason);
        self.loaded.drops().unwrap().get(&index, 0).unwrap().iter().sum()
    }

    /// Everything counted since the programs were loaded, in the slots that this host uses.
    pub(crate) fn counts(&self) -> Counts {
        let (drops, passed) = (self.loaded.drops().unwrap(), self.loaded.passed().unwrap());
        Counts::read(&drops, &passed)
    }
}

/// What a guest may say, with addresses and the lengths of their prefixes in the 16-byte form.
pub(crate) fn tap_entry(mac: [u8; 6], slot: u32, owned: &[([u8; 16], u8)]) -> TapEntry {
    let mut entry = TapEntry {
        mac,
        count: owned.len() as u8,
        reserved: 0,
        addresses: [[0; 16]; OWN_ADDRESSES],
        prefixes: [0; OWN_ADDRESSES],
        slot,
    };
    for (at, (address, prefix)) in owned.iter().enumerate() {
        (entry.addresses[at], entry.prefixes[at]) = (*address, *prefix);
    }
    entry
}
