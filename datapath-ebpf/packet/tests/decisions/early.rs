//! What may die in the driver: nothing that `from_uplink` would have let pass, and nothing that the agent could be told
//! of.
use crate::honest::{ALL, HOST, PEER_HOST, from_guest};
use pairgate_abi::{DropReason, Handle, InEntry};
use pairgate_packet::{
    Bytes,
    address::{Address, wide},
    early,
    outer::Outer,
    receiver,
};

fn outer() -> Outer {
    Outer {
        source: Address::of(&wide(PEER_HOST)),
        destination: Address::of(&wide(HOST)),
        flow_port: [0xc0, 1],
        checksum_is_zero: true,
        handle: Handle::from_wire([1, 2, 3], [4, 5]),
    }
}

/// Bound to what [`outer`] says; everything inside is another's, and its time is over.
fn entry() -> InEntry {
    InEntry {
        deadline_ns: 0,
        used_ns: 0,
        pair_id: 0,
        src_host: wide(PEER_HOST),
        dst_host: wide(HOST),
        src_addr: [0; 16],
        dst_addr: [0; 16],
        tap: 0,
        mac: [0; 6],
        mtu: 0,
        reserved: [0; 4],
        slot: 3,
        src_generation: 0,
        dst_generation: 0,
        carries: ALL,
        src_vm: [0; 16],
        dst_vm: [0; 16],
    }
}

#[test]
fn what_has_its_handles_outer_header_goes_on_however_bad_it_is_inside() {
    for could_tell in [true, false] {
        assert_eq!(early::dies(&outer(), Some(&entry()), || could_tell), None);
    }
}

#[test]
fn an_unknown_handle_dies_only_when_nobody_can_be_told_of_it() {
    assert_eq!(
        early::dies(&outer(), None, || true),
        None,
        "a forgotten pair stays forgotten"
    );
    assert_eq!(early::dies(&outer(), None, || false), Some(DropReason::Handle));
}

#[test]
fn another_outer_header_than_the_handles_dies_at_once() {
    let other = Address::of(&wide([192, 0, 2, 77]));
    let (mut from, mut to) = (outer(), outer());
    (from.source, to.destination) = (other, other);
    for wrong in [from, to] {
        for could_tell in [true, false] {
            let dies = early::dies(&wrong, Some(&entry()), || could_tell);
            assert_eq!(dies, Some(DropReason::Outer));
        }
    }
}

/// Wrong if false: the two programs would disagree.
#[test]
fn whatever_dies_early_would_have_died_of_the_same() {
    let other = Address::of(&wide([192, 0, 2, 77]));
    for source in [outer().source, other] {
        for entry in [None, Some(entry())] {
            let outer = Outer { source, ..outer() };
            for could_tell in [true, false] {
                if let Some(reason) = early::dies(&outer, entry.as_ref(), || could_tell) {
                    assert_eq!(receiver::check_outer(&outer, entry.as_ref()), Err(reason));
                }
            }
        }
    }
}

#[test]
fn a_frame_is_for_the_uplink_by_its_first_six_bytes() {
    let frame = from_guest();
    let mut mac: [u8; 6] = frame[..6].try_into().unwrap();
    assert!(early::is_to(&Bytes(&frame), &mac));
    assert!(
        !early::is_to(&Bytes(&frame[..5]), &mac),
        "a frame that ends before"
    );
    mac[5] ^= 1;
    assert!(!early::is_to(&Bytes(&frame), &mac));
}
