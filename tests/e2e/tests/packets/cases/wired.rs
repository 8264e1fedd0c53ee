//! Lines that a test run cannot carry, through real taps with the programs attached: a virtio-net header in front of the
//! frame, and frames of any size.
use super::{
    course::{Course, Way},
    seed::{Frame, Seed},
    table::{NOTHING, Outcomes, PASSES, Setup},
};
use crate::{
    checksums::{checksum_is_right, finished},
    device::{NEEDS_CHECKSUM, Tap, Vnet},
    frames::{INNER, arriving_under},
    pairs::{in_handle, in_handle6},
    world::{DOOR_SLOT, SLOT},
};
use nix::errno::Errno;
use pairgate_packet::ip::Family;
use std::time::Duration;

/// Only failures wait this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames cross taps within the sender's own call: what is not there now does not come.
const SILENCE: Duration = Duration::from_millis(1);

/// The kernel does not take it from the guest's monitor, or takes it and brings it to no program.
pub(crate) const REFUSED: &str = "refused";

/// A line: the outcomes in each family. Where kernels differ, an outcome is one word or another.
pub(crate) struct Wired {
    pub(crate) name: &'static str,
    pub(crate) make: fn(Seed) -> (Vnet, Frame),
    pub(crate) four: Outcomes,
    pub(crate) six: Outcomes,
    pub(crate) when: fn(&mut Setup),
}

impl Wired {
    pub(crate) fn when(mut self, when: fn(&mut Setup)) -> Self {
        self.when = when;
        self
    }
}

/// The same in both families.
pub(crate) fn both(name: &'static str, make: fn(Seed) -> (Vnet, Frame), outcomes: Outcomes) -> Wired {
    differ(name, make, outcomes, outcomes)
}

/// Another thing in each family.
pub(crate) fn differ(
    name: &'static str,
    make: fn(Seed) -> (Vnet, Frame),
    four: Outcomes,
    six: Outcomes,
) -> Wired {
    let when = |_: &mut Setup| {};
    Wired {
        name,
        make,
        four,
        six,
        when,
    }
}

/// Runs the line in each family, each way.
pub(crate) fn run(course: &mut Course, case: &Wired) {
    for (family, outcomes) in [(Family::V4, case.four), (Family::V6, case.six)] {
        for (way, outcome) in super::course::WAYS.into_iter().zip(outcomes) {
            if outcome != NOTHING {
                one(course, case, (family, way), outcome);
            }
        }
    }
}

fn one(course: &mut Course, case: &Wired, (family, way): (Family, Way), outcome: &'static str) {
    let mut setup = Setup::default();
    (case.when)(&mut setup);
    let what = format!("{}, {way:?}, {family:?}", case.name);
    let outcome = match way {
        Way::UplinkToTap => course.arrives(outcome, family),
        Way::TapToUplink | Way::TapToTap => outcome,
    };
    course.set(&setup, family, way);
    course.runs += 1;
    let (vnet, frame) = (case.make)(way.seed(family));
    let sent = send(course, (family, way), vnet, &frame);
    let moved = course.moved();
    course.unset(&setup, family, way);
    let (program, to) = match way {
        Way::TapToUplink => ("from_tap", &course.world.uplink),
        Way::UplinkToTap => ("from_uplink", &course.world.guest),
        Way::TapToTap => ("from_tap", &course.world.door),
    };
    let to_tap = (
        if way == Way::TapToTap { DOOR_SLOT } else { SLOT },
        "to_tap",
        "passed",
        1,
    );
    let became = match &moved[..] {
        [] => REFUSED,
        [(SLOT, at, "passed", 1)] if *at == program && way == Way::TapToUplink => PASSES,
        [(SLOT, at, "passed", 1), last] if *at == program && *last == to_tap => PASSES,
        [(SLOT, "from_tap", "too_big", 1), (SLOT, "to_tap", "passed", 1)] => {
            let (vnet, answer) = course.world.guest.receive(PATIENCE, is_ip).unwrap();
            assert!(checksum_is_right(&finished(vnet, answer)), "{what}");
            "too_big"
        }
        [(SLOT, at, reason, 1)] if *at == program => reason,
        _ => panic!("{what}: {moved:?}"),
    };
    assert!(
        outcome.split(" or ").any(|word| word == became),
        "{what}: {became}, and not {outcome}"
    );
    match sent {
        Ok(()) => {}
        Err(Errno::EINVAL) if became == REFUSED => {}
        Err(error) => panic!("{what}: {error}"),
    }
    if became == PASSES {
        arrives(to, way, &frame, &what);
    }
    assert_eq!(to.receive(SILENCE, is_ip), None, "{what}: something comes out");
}

fn send(course: &Course, (family, way): (Family, Way), vnet: Vnet, frame: &Frame) -> Result<(), Errno> {
    if way != Way::UplinkToTap {
        return course.world.guest.send(vnet, &frame.bytes);
    }
    let handle = match family {
        Family::V4 => in_handle(),
        Family::V6 => in_handle6(),
    };
    let behind = |at: u16| at.saturating_add(INNER as u16);
    let vnet = Vnet {
        header_length: behind(vnet.header_length),
        checksum_start: if vnet.flags & NEEDS_CHECKSUM != 0 {
            behind(vnet.checksum_start)
        } else {
            0
        },
        ..vnet
    };
    course
        .world
        .uplink
        .send(vnet, &arriving_under(&course.world, handle, &frame.bytes))
}

/// All of the packet comes, in one piece or several, between the same addresses and ports, with right checksums.
fn arrives(to: &Tap, way: Way, frame: &Frame, what: &str) {
    let packet = frame.packet();
    let at = frame.body_at();
    let header = if frame.protocol() == 6 { 20 } else { 8 };
    let mut payload: Vec<u8> = Vec::new();
    while payload.len() < packet.len() - at - header || payload.is_empty() {
        let (vnet, seen) = to
            .receive(PATIENCE, is_ip)
            .unwrap_or_else(|| panic!("{what}: not all of it comes"));
        let seen = finished(vnet, seen);
        let seen = if way == Way::TapToUplink {
            &seen[INNER..]
        } else {
            &seen[..]
        };
        assert!(checksum_is_right(seen), "{what}: {seen:02x?}");
        let addresses = if at == 34 { 26..34 } else { 22..54 };
        assert_eq!(
            seen[addresses.clone()],
            packet[addresses],
            "{what}: between others"
        );
        assert_eq!(
            seen[at..at + 4],
            packet[at..at + 4],
            "{what}: between other ports"
        );
        payload.extend(&seen[at + header..]);
    }
    assert_eq!(
        payload,
        packet[at + header..],
        "{what}: other bytes, or in another order"
    );
}

fn is_ip(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0] || frame[12..14] == [0x86, 0xdd]
}
