//! What kernel and agent owe each other in numbers: both compile the same constants, so only a third party notices when
//! one is another than `docs/maps.md` says.

use pairgate_abi::{DROP_REASONS, Direction, DropReason, Handle, count_index, drop_index, limits};
use std::collections::BTreeSet;

/// Wrong if it fails: rings and tables are of other sizes than their bounds were thought out for.
#[test]
fn bounds_are_what_their_reasons_say() {
    for (name, bound, number) in [
        ("event ring", limits::EVENT_RING_BYTES, 262_144),
        ("ring of held packets", limits::HELD_RING_BYTES, 1_048_576),
        ("ring of questions", limits::QUESTION_RING_BYTES, 524_288),
        ("refusals", limits::REFUSALS, 65_536),
    ] {
        assert_eq!(bound, number, "{name}");
    }
    assert_eq!(limits::USE_STEP_NS, 268_435_456, "about a quarter of a second");
}

/// Wrong if it fails: two slots, directions or reasons share a counter, or a slot that is none counts for a guest.
#[test]
fn every_slot_direction_and_reason_has_a_counter_of_its_own() {
    let (mut passed, mut dropped) = (BTreeSet::new(), BTreeSet::new());
    for slot in 0..limits::SLOTS {
        for direction in Direction::ALL {
            assert!(passed.insert(count_index(slot, direction)));
            for reason in DROP_REASONS {
                assert!(dropped.insert(drop_index(slot, direction, *reason)));
            }
        }
    }
    // Without gaps: the maps have exactly as many places.
    let places = limits::SLOTS * Direction::COUNT;
    assert!(passed.into_iter().eq(0..places));
    assert!(dropped.into_iter().eq(0..places * DropReason::COUNT));
    for slot in [limits::SLOTS, limits::SLOTS + 1, u32::MAX] {
        for direction in Direction::ALL {
            assert_eq!(count_index(slot, direction), count_index(0, direction));
            for reason in DROP_REASONS {
                let nobody = drop_index(0, direction, *reason);
                assert_eq!(drop_index(slot, direction, *reason), nobody);
            }
        }
    }
}

#[test]
fn a_handle_gives_back_its_parts() {
    let handle = Handle::new(0x12_3456, 0x789a).expect("no part of it is reserved");
    assert_eq!((handle.vni(), handle.group()), ([0x12, 0x34, 0x56], [0x78, 0x9a]));
    assert_eq!((handle.vni_number(), handle.group_number()), (0x12_3456, 0x789a));
}

#[test]
fn directions_have_the_words_of_metrics_and_documents() {
    let words = Direction::ALL.map(Direction::word);
    assert_eq!(
        words,
        ["from_tap", "from_uplink", "to_tap", "from_vxlan", "xdp_uplink"]
    );
}
