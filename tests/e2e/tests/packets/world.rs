//! A small host of its own: namespaces, a guest's tap, an uplink, the loaded programs and a pair each way.
use crate::device::Tap;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use pairgate_abi::{Budget, Direction, DropReason, Handle, InEntry, NextHop, OutEntry, OutKey, TapEntry};
use pairgate_agent::datapath::{LoadOptions, Loaded, Pod};
use pairgate_packet::pair::wide;
use std::path::Path;

pub(crate) const GATEWAY: [u8; 6] = pairgate_abi::GATEWAY_MAC;
pub(crate) const GUEST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];
pub(crate) const GUEST: [u8; 4] = [10, 77, 0, 11];
pub(crate) const PREFIX: u8 = 24;
pub(crate) const PEER: [u8; 4] = [10, 77, 0, 21];
/// A peer whose entry has ended.
pub(crate) const EXPIRED_PEER: [u8; 4] = [10, 77, 0, 31];
/// A peer on a host to which no way is known.
pub(crate) const LOST_PEER: [u8; 4] = [10, 77, 0, 32];
pub(crate) const HOST: [u8; 4] = [192, 0, 2, 1];
pub(crate) const PEER_HOST: [u8; 4] = [192, 0, 2, 2];
pub(crate) const LOST_HOST: [u8; 4] = [192, 0, 2, 3];
pub(crate) const PORT: u16 = 4789;
pub(crate) const SLOT: u32 = 7;
pub(crate) const MTU: u16 = 1400;
pub(crate) const NEIGHBOUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x99, 0x02];
pub(crate) const FOREVER: u64 = u64::MAX;

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

/// A handle bound to an address that this host had once; far from the others, so that no flipped bit finds it.
pub(crate) fn moved_handle() -> Handle {
    Handle::new(0x5c_71e3, 0x6b2f).unwrap()
}

pub(crate) struct World {
    pub(crate) loaded: Loaded,
    pub(crate) guest: Tap,
    pub(crate) uplink: Tap,
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
    load_host(PIN_DIR, uplink, HOST)
}

/// Loads the programs of a host.
pub(crate) fn load_host(pin_dir: &str, uplink: u32, host: [u8; 4]) -> Loaded {
    let options = LoadOptions {
        pin_dir: Path::new(pin_dir),
        uplink,
        host: host.into(),
        port: PORT,
    };
    Loaded::load(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// Key of the pair from a tap to a peer.
pub(crate) fn out_key(tap: u32, peer: [u8; 4]) -> OutKey {
    OutKey {
        tap,
        destination: wide(peer),
    }
}

/// Every peer that the guest has an entry for.
pub(crate) fn known_peers() -> [([u8; 4], OutEntry); 3] {
    let expired = OutEntry {
        deadline_ns: 1,
        ..World::out_entry()
    };
    let lost = OutEntry {
        dst_host: wide(LOST_HOST),
        ..World::out_entry()
    };
    [
        (PEER, World::out_entry()),
        (EXPIRED_PEER, expired),
        (LOST_PEER, lost),
    ]
}

impl World {
    /// Everything in place and nothing attached.
    pub(crate) fn new() -> Self {
        enter_own_namespaces();
        let (guest, uplink) = (Tap::new("guest"), Tap::new("uplink"));
        let loaded = load(uplink.index());
        let world = Self {
            loaded,
            guest,
            uplink,
        };
        world.fill();
        world
    }

    /// Everything in place, the programs attached and the devices up.
    pub(crate) fn running() -> Self {
        let mut world = Self::new();
        world.loaded.attach_uplink("uplink").unwrap();
        world.loaded.attach_tap("guest").unwrap();
        world.guest.up();
        world.uplink.up();
        world.uplink.neighbour(PEER_HOST, NEIGHBOUR_MAC);
        world
    }

    pub(crate) fn tap_entry() -> TapEntry {
        TapEntry {
            mac: GUEST_MAC,
            ipv4_prefix: PREFIX,
            reserved: 0,
            ipv4: GUEST,
            slot: SLOT,
        }
    }

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
            reserved: 0,
            src_vm: [1; 16],
            dst_vm: [2; 16],
        }
    }

    pub(crate) fn in_entry(&self) -> InEntry {
        InEntry {
            deadline_ns: FOREVER,
            used_ns: 0,
            pair_id: 2,
            src_host: wide(PEER_HOST),
            dst_host: wide(HOST),
            src_addr: wide(PEER),
            dst_addr: wide(GUEST),
            tap: self.guest.index(),
            mac: GUEST_MAC,
            reserved: [0; 2],
            slot: SLOT,
            src_generation: 1,
            dst_generation: 1,
            src_vm: [2; 16],
            dst_vm: [1; 16],
        }
    }

    pub(crate) fn next_hop(&self) -> NextHop {
        NextHop {
            interface: self.uplink.index(),
            neighbour: PEER_HOST,
        }
    }

    fn fill(&self) {
        let tap = self.guest.index();
        self.loaded
            .taps()
            .unwrap()
            .insert(tap, Pod(Self::tap_entry()), 0)
            .unwrap();
        let mut out = self.loaded.pairs_out().unwrap();
        for (peer, entry) in known_peers() {
            out.insert(Pod(out_key(tap, peer)), Pod(entry), 0).unwrap();
        }
        let mut pairs_in = self.loaded.pairs_in().unwrap();
        pairs_in
            .insert(Pod(in_handle()), Pod(self.in_entry()), 0)
            .unwrap();
        let expired = InEntry {
            deadline_ns: 1,
            ..self.in_entry()
        };
        pairs_in.insert(Pod(expired_handle()), Pod(expired), 0).unwrap();
        let moved = InEntry {
            dst_host: wide(LOST_HOST),
            ..self.in_entry()
        };
        pairs_in.insert(Pod(moved_handle()), Pod(moved), 0).unwrap();
        self.loaded
            .next_hops()
            .unwrap()
            .insert(wide(PEER_HOST), Pod(self.next_hop()), 0)
            .unwrap();
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
        for slot in [0, SLOT] {
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
