//! Every map, and the lookups of the ones that authorise. The only statics besides the licence.
use crate::{
    from_tap::{ForConfiguration, Homeless},
    memory::{self, Used},
    skb::Skb,
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{HashOfMaps, LruHashMap},
    macros::{btf_map, map},
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use core::mem::offset_of;
use pairgate_abi::{
    Budget, Count, Direction, DropReason, Event, FlowKey, Handle, InEntry, NextHop, OutEntry, OutKey,
    Settings, SkbLayout, TapEntry, limits,
};

/// The guests of this host, by interface index of their taps.
#[map]
static TAPS: HashMap<u32, TapEntry> = HashMap::pinned(limits::SLOTS, BPF_F_NO_PREALLOC);

/// Pairs a local guest may send on.
#[map]
static PAIRS_OUT: HashMap<OutKey, OutEntry> = HashMap::pinned(limits::PAIRS, BPF_F_NO_PREALLOC);

/// Pairs a local guest may receive on.
#[map]
static PAIRS_IN: HashMap<Handle, InEntry> = HashMap::pinned(limits::PAIRS, BPF_F_NO_PREALLOC);

/// How frames reach a peer host.
#[map]
static NEXT_HOPS: HashMap<[u8; 16], NextHop> = HashMap::pinned(limits::PEERS, BPF_F_NO_PREALLOC);

/// When the host lease ends.
#[map]
static LEASE: Array<u64> = Array::pinned(1, 0);

/// Packets dropped, by slot, direction and reason.
#[map]
static DROPS: PerCpuArray<u64> = PerCpuArray::pinned(limits::SLOTS * Direction::COUNT * DropReason::COUNT, 0);

/// Packets and bytes passed, by slot and direction.
#[map]
static PASSED: PerCpuArray<Count> = PerCpuArray::pinned(limits::SLOTS * Direction::COUNT, 0);

/// What each tap has left to raise events and ask questions.
#[map]
static BUDGETS: Array<Budget> = Array::pinned(limits::SLOTS, 0);

/// What the agent should know.
#[map]
static EVENTS: RingBuf = RingBuf::pinned(limits::EVENT_RING_BYTES, 0);

/// First packets, for the agent to hold.
#[map]
static HELD: RingBuf = RingBuf::pinned(limits::HELD_RING_BYTES, 0);

/// What guests ask about their configuration.
#[map]
static QUESTIONS: RingBuf = RingBuf::pinned(limits::QUESTION_RING_BYTES, 0);

/// How many held packets of each tap the agent is done with.
#[map]
static RELEASED: Array<u64> = Array::pinned(limits::SLOTS, 0);

/// Until when nobody is asked again about a pair.
#[map]
static REFUSED: HashMap<OutKey, u64> = HashMap::pinned(limits::REFUSALS, BPF_F_NO_PREALLOC);

/// What each guest has opened: one table per guest, so that none can push out another's.
///
/// A map of this kind must be described by its type information (the old form of description has no place
/// for the inner map), and then has no mark to be pinned: the agent names its pin when it loads the programs.
#[btf_map]
static FLOWS: HashOfMaps<u32, FlowTable, { limits::SLOTS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashOfMaps::new();

type FlowTable = LruHashMap<FlowKey, u64, { limits::FLOWS_PER_TAP as usize }>;

/// When a flow last had a packet that arrived big.
#[map]
static BIG: Array<u64> = Array::pinned(limits::BIG_CELLS, 0);

/// The MAC address of the uplink, for `xdp_uplink`; zeros until the agent has written it, and no frame is for that.
#[map]
static UPLINK_MAC: Array<[u8; 8]> = Array::pinned(1, 0);

/// The packet mark of these programs, kept for the agent that comes after; the programs have it in their
/// settings.
#[map]
static MARK: Array<u32> = Array::pinned(1, 0);

/// Fixed by the agent when it loads the programs. Zeros, as they stand here, pass nothing: no mark is 0.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings {
    mark: 0,
    uplink: 0,
    vxlan: 0,
    host: [0; 16],
    port: [0; 2],
    other_family_by_device: 0,
    reserved: 0,
    skb: SkbLayout {
        ip_summed: 0,
        ip_summed_shift: 0,
        head: 0,
        data: 0,
        csum_start: 0,
        end: 0,
        gso_type: 0,
    },
};

#[inline(always)]
pub fn settings() -> &'static Settings {
    memory::settled(&SETTINGS)
}

#[inline(always)]
pub fn tap(interface: u32) -> Option<&'static TapEntry> {
    memory::value(TAPS.get_ptr(interface))
}

#[inline(always)]
pub fn pair_out(key: &OutKey) -> Option<Used<OutEntry>> {
    let found = PAIRS_OUT.get_ptr_mut(key)?;
    Some(memory::used(found, offset_of!(OutEntry, used_ns)))
}

#[inline(always)]
pub fn pair_in(handle: &Handle) -> Option<Used<InEntry>> {
    let found = PAIRS_IN.get_ptr_mut(handle)?;
    Some(memory::used(found, offset_of!(InEntry, used_ns)))
}

#[inline(always)]
pub fn next_hop(host: &[u8; 16]) -> Option<NextHop> {
    memory::value(NEXT_HOPS.get_ptr(host)).copied()
}

/// The instant at which the host lease ends; a lease that cannot be read has ended.
#[inline(always)]
pub fn lease() -> u64 {
    LEASE.get(0).copied().unwrap_or(0)
}

/// Counters of one CPU, which nothing else writes while a program runs.
#[inline(always)]
pub fn drops(index: u32) -> Option<*mut u64> {
    DROPS.get_ptr_mut(index)
}

#[inline(always)]
pub fn passed(index: u32) -> Option<*mut Count> {
    PASSED.get_ptr_mut(index)
}

#[inline(always)]
pub fn budget(slot: u32) -> Option<*mut Budget> {
    BUDGETS.get_ptr_mut(slot)
}

/// How many held packets of a tap the agent is done with.
#[inline(always)]
pub fn released(slot: u32) -> u64 {
    RELEASED.get(slot).copied().unwrap_or(0)
}

/// Until when the refusal of a pair stands, if there is one.
#[inline(always)]
pub fn refused_until(key: &OutKey) -> Option<u64> {
    memory::value(REFUSED.get_ptr(key)).copied()
}

/// The instant of a flow's last packet, in the table of the guest with this slot.
#[inline(always)]
pub fn flow(slot: u32, key: &FlowKey) -> Option<*mut u64> {
    memory::inner(&FLOWS, &slot)?.get_ptr_mut(key)
}

/// Puts a new flow into the table of the guest with this slot, if it has one.
#[inline(always)]
pub fn open_flow(slot: u32, key: &FlowKey, now_ns: u64) {
    if let Some(table) = memory::inner(&FLOWS, &slot) {
        let _ = table.insert(key, now_ns, 0);
    }
}

/// The MAC address of the uplink.
#[inline(always)]
pub fn uplink_mac() -> Option<[u8; 6]> {
    let [a, b, c, d, e, f, _, _] = *UPLINK_MAC.get(0)?;
    Some([a, b, c, d, e, f])
}

/// When a packet of this cell's flows last arrived big.
#[inline(always)]
pub fn big(cell: u32) -> Option<*mut u64> {
    BIG.get_ptr_mut(cell)
}

/// Tells the agent; false if the ring is full. Then the next packet raises the event again.
#[inline(always)]
pub fn raise(event: Event) -> bool {
    EVENTS.output::<Event>(event, 0).is_ok()
}

/// Gives the agent a packet; false if there is no room for it.
#[inline(always)]
pub fn hold(skb: &Skb, packet: &Homeless) -> bool {
    skb.copy_into(&HELD, packet)
}

/// Gives the agent a question; false if there is no room for it.
#[inline(always)]
pub fn ask(skb: &Skb, question: &ForConfiguration) -> bool {
    skb.copy_question(&QUESTIONS, question)
}
