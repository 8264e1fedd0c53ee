//! A small host of its own: namespaces, a guest's tap, an uplink, the loaded programs and a pair each way.
use crate::device::Tap;
use aya::maps::{Array, Map, MapData, RingBuf};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use pairgate_abi::{
    Budget, CARRIES_ALL, CARRIES_GRANTS, CARRIES_REPLIES, Carries, Direction, DropReason, GRANTS, Grant,
    Handle, Held, InEntry, NextHop, OWN_ADDRESSES, OutEntry, OutKey, TapEntry,
};
use pairgate_agent::datapath::{LoadOptions, Loaded, Pod};
use pairgate_packet::address::wide;
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

/// What a pair carries, with these (protocol, first port, last port).
pub(crate) fn carries(kind: u8, entries: &[(u8, u16, u16)]) -> Carries {
    let mut grants = [Grant::default(); GRANTS];
    for (grant, (protocol, first, last)) in grants.iter_mut().zip(entries) {
        (grant.protocol, grant.first, grant.last) = (*protocol, *first, *last);
    }
    Carries {
        kind,
        count: entries.len() as u8,
        reserved: [0; 2],
        grants,
    }
}

/// TCP to 443, UDP to 1000–2000, and ICMP of both families.
pub(crate) fn some_ports() -> Carries {
    let entries = [(1, 0, 0), (6, 443, 443), (17, 1000, 2000), (58, 0, 0)];
    carries(CARRIES_GRANTS, &entries)
}

pub(crate) fn replies() -> Carries {
    carries(CARRIES_REPLIES, &[])
}

/// The handle under which the guest sends.
pub(crate) fn out_handle() -> Handle {
    Handle::new(0x01_0203, 0x0405).unwrap()
}

/// The handle under which the guest receives.
pub(crate) fn in_handle() -> Handle {
    Handle::new(0x0a_0b0c, 0x0d0e).unwrap()
}

/// As `in_handle`, but its deadline has passed.
pub(crate) fn expired_handle() -> Handle {
    Handle::new(0x0a_0b0d, 0x0d0e).unwrap()
}

/// As `in_handle`, for the guest's IPv6 address.
pub(crate) fn in_handle6() -> Handle {
    Handle::new(0x0a_0b0e, 0x0d0e).unwrap()
}

/// As `in_handle`, for the pair from the peer that has some ports only.
pub(crate) fn granted_handle() -> Handle {
    Handle::new(0x0a_0b0f, 0x0d0e).unwrap()
}

/// As `in_handle`, for the pair from the peer that may only answer.
pub(crate) fn replies_handle() -> Handle {
    Handle::new(0x0a_0b10, 0x0d0e).unwrap()
}

/// A handle bound to an address that this host had once; far from the others, so that no flipped bit finds it.
pub(crate) fn moved_handle() -> Handle {
    Handle::new(0x5c_71e3, 0x6b2f).unwrap()
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
pub(crate) fn load_host(pin_dir: &str, (uplink, vxlan): (u32, u32), host: IpAddr) -> Loaded {
    let options = LoadOptions {
        pin_dir: Path::new(pin_dir),
        uplink,
        vxlan,
        host,
        port: PORT,
    };
    Loaded::load(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// An address in the form of the contract.
pub(crate) fn bytes_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(four) => wide(four.octets()),
        IpAddr::V6(six) => six.octets(),
    }
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

    /// The same on a host with this underlay address.
    pub(crate) fn on(host: IpAddr) -> Self {
        Self::made(host, |_| 0)
    }

    /// The same on a host that hands big packets to its VXLAN device. Any interface will do: none is asked to.
    pub(crate) fn with_device(host: IpAddr) -> Self {
        Self::made(host, Tap::index)
    }

    fn made(host: IpAddr, device: impl FnOnce(&Tap) -> u32) -> Self {
        enter_own_namespaces();
        let (guest, door, uplink) = (Tap::new("guest"), Tap::new("door"), Tap::new("uplink"));
        let loaded = load_host(PIN_DIR, (uplink.index(), device(&uplink)), host);
        let held = loaded.held().unwrap();
        let world = Self {
            loaded,
            guest,
            door,
            uplink,
            host,
            held,
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

    /// The next packet that the agent is to hold.
    pub(crate) fn next_held(&mut self) -> Option<Held> {
        let record = self.held.next()?;
        Some(Held::read_from_bytes(&record).unwrap())
    }

    /// When flows last had a packet that arrived big.
    pub(crate) fn big(&self) -> Array<MapData, u64> {
        let map = MapData::from_pin(self.loaded.pins().map(pairgate_abi::map::BIG)).unwrap();
        Array::try_from(Map::from_map_data(map).unwrap()).unwrap()
    }

    /// Underlay addresses of this host and of its peer.
    pub(crate) fn hosts(&self) -> ([u8; 16], [u8; 16]) {
        match self.host {
            IpAddr::V4(_) => (wide(HOST), wide(PEER_HOST)),
            IpAddr::V6(_) => (HOST6, PEER_HOST6),
        }
    }

    /// Every pair that the guest may send on.
    pub(crate) fn known_pairs(&self) -> Vec<(OutKey, OutEntry)> {
        let good = self.out_entry_here();
        let expired = OutEntry {
            deadline_ns: 1,
            ..good
        };
        let lost = OutEntry {
            dst_host: match self.host {
                IpAddr::V4(_) => wide(LOST_HOST),
                IpAddr::V6(_) => host_six(3),
            },
            ..good
        };
        let granted = OutEntry {
            carries: some_ports(),
            ..good
        };
        let answered = OutEntry {
            carries: replies(),
            ..good
        };
        let next_door = OutEntry {
            local_tap: self.door.index(),
            local_slot: DOOR_SLOT,
            local_mac: NEXT_DOOR_MAC,
            dst_host: good.src_host,
            carries: some_ports(),
            ..good
        };
        let tap = self.guest.index();
        [
            (PEER, good),
            (EXPIRED_PEER, expired),
            (LOST_PEER, lost),
            (GRANTED_PEER, granted),
            (ANSWERED_PEER, answered),
            (NEXT_DOOR, next_door),
        ]
        .into_iter()
        .flat_map(|(peer, entry)| [(out_key(tap, peer), entry), (out_key6(tap, peer), entry)])
        .collect()
    }

    /// Every pair that the guest may receive on.
    pub(crate) fn known_handles(&self) -> Vec<(Handle, InEntry)> {
        let good = self.in_entry();
        let expired = InEntry {
            deadline_ns: 1,
            ..good
        };
        let moved = InEntry {
            dst_host: wide(LOST_HOST),
            ..good
        };
        let six = InEntry {
            src_addr: PEER6,
            dst_addr: GUEST6,
            ..good
        };
        let granted = InEntry {
            src_addr: wide(GRANTED_PEER),
            carries: some_ports(),
            ..good
        };
        let replies = InEntry {
            src_addr: wide(ANSWERED_PEER),
            carries: replies(),
            ..good
        };
        vec![
            (in_handle(), good),
            (expired_handle(), expired),
            (moved_handle(), moved),
            (in_handle6(), six),
            (granted_handle(), granted),
            (replies_handle(), replies),
        ]
    }

    pub(crate) fn tap_entry() -> TapEntry {
        tap_entry(GUEST_MAC, SLOT, &[(wide(GUEST), 96 + PREFIX), (GUEST6, 64)])
    }

    /// The good pair of a host with an IPv4 underlay.
    pub(crate) fn out_entry() -> OutEntry {
        OutEntry {
            deadline_ns: FOREVER,
            used_ns: 0,
            pair_id: 1,
            handle: out_handle(),
            src_host: wide(HOST),
            dst_host: wide(PEER_HOST),
            port: PORT.to_be_bytes(),
            mtu: MTU,
            src_generation: 1,
            dst_generation: 1,
            local_tap: 0,
            local_slot: 0,
            local_mac: [0; 6],
            reserved: [0; 2],
            carries: carries(CARRIES_ALL, &[]),
            src_vm: [1; 16],
            dst_vm: [2; 16],
        }
    }

    /// The same on this host's underlay.
    pub(crate) fn out_entry_here(&self) -> OutEntry {
        let (src_host, dst_host) = self.hosts();
        OutEntry {
            src_host,
            dst_host,
            ..Self::out_entry()
        }
    }

    pub(crate) fn in_entry(&self) -> InEntry {
        let (dst_host, src_host) = self.hosts();
        InEntry {
            deadline_ns: FOREVER,
            used_ns: 0,
            pair_id: 2,
            src_host,
            dst_host,
            src_addr: wide(PEER),
            dst_addr: wide(GUEST),
            tap: self.guest.index(),
            mac: GUEST_MAC,
            reserved: [0; 6],
            slot: SLOT,
            src_generation: 1,
            dst_generation: 1,
            carries: carries(CARRIES_ALL, &[]),
            src_vm: [2; 16],
            dst_vm: [1; 16],
        }
    }

    pub(crate) fn next_hop(&self) -> NextHop {
        NextHop {
            interface: self.uplink.index(),
            neighbour: self.hosts().1,
        }
    }

    fn fill(&self) {
        let mut taps = self.loaded.taps().unwrap();
        taps.insert(self.guest.index(), Pod(Self::tap_entry()), 0).unwrap();
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

type Drops = aya::maps::PerCpuArray<aya::maps::MapData, u64>;
type Passed = aya::maps::PerCpuArray<aya::maps::MapData, Pod<pairgate_abi::Count>>;

/// One line per counter that is not zero: (slot, direction, reason or "passed") and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) std::collections::BTreeMap<(u32, &'static str, &'static str), u64>);

impl Counts {
    pub(crate) fn read(drops: &Drops, passed: &Passed) -> Self {
        use pairgate_abi::{DROP_REASONS, count_index, drop_index};
        let mut counts = std::collections::BTreeMap::new();
        let mut note = |key, number: u64| {
            if number > 0 {
                counts.insert(key, number);
            }
        };
        for slot in [0, SLOT, DOOR_SLOT] {
            for direction in Direction::ALL {
                let all = passed.get(&count_index(slot, direction), 0).unwrap();
                note(
                    (slot, direction.word(), "passed"),
                    all.iter().map(|count| count.0.packets).sum(),
                );
                for reason in DROP_REASONS {
                    let all = drops.get(&drop_index(slot, direction, *reason), 0).unwrap();
                    note((slot, direction.word(), reason.word()), all.iter().sum());
                }
            }
        }
        Self(counts)
    }

    /// What was counted between `before` and this.
    pub(crate) fn since(&self, before: &Self) -> Vec<(u32, &'static str, &'static str, u64)> {
        self.0
            .iter()
            .map(|(key, number)| {
                (
                    key.0,
                    key.1,
                    key.2,
                    number - before.0.get(key).copied().unwrap_or(0),
                )
            })
            .filter(|line| line.3 > 0)
            .collect()
    }
}
