//! One line of the tables: a name, how the frame is made, and what must become of it.
use super::seed::{Frame, Seed};
use crate::pairs::carries;
use pairgate_abi::{CARRIES_ALL, Carries};

pub(crate) const PASSES: &str = "passes";
/// It ends here, and the agent has a copy.
pub(crate) const HELD: &str = "held";
/// It is an answer now, on its way back.
pub(crate) const ANSWERED: &str = "answered";
/// There is no such frame this way.
pub(crate) const NOTHING: &str = "-";

/// What becomes of it from tap to uplink, from uplink to tap, and from tap to tap: a word from above, or the reason of
/// the drop.
pub(crate) type Outcomes = [&'static str; 3];

pub(crate) type Make = fn(Seed) -> Frame;

/// It is carried, whichever way it goes.
pub(crate) const CARRIED: Outcomes = [PASSES; 3];

/// The guest's own host drops it; a peer host that sends it is not believed.
pub(crate) const fn dies(reason: &'static str) -> Outcomes {
    [reason, "inner", reason]
}

/// A drop at the guest's own host of what is carried from another: its MAC addresses say nothing there.
pub(crate) const fn here(reason: &'static str) -> Outcomes {
    [reason, PASSES, reason]
}

/// One named case, in one family or both.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) four: Option<(Make, Outcomes)>,
    pub(crate) six: Option<(Make, Outcomes)>,
    pub(crate) when: fn(&mut Setup),
    /// In other circumstances than the usual.
    pub(crate) is_special: bool,
}

impl Case {
    /// In other circumstances than the usual.
    pub(crate) fn when(mut self, when: fn(&mut Setup)) -> Self {
        (self.when, self.is_special) = (when, true);
        self
    }
}

fn case(name: &'static str, four: Option<(Make, Outcomes)>, six: Option<(Make, Outcomes)>) -> Case {
    let when = |_: &mut Setup| {};
    Case {
        name,
        four,
        six,
        when,
        is_special: false,
    }
}

/// The same in both families.
pub(crate) fn both(name: &'static str, make: Make, outcomes: Outcomes) -> Case {
    case(name, Some((make, outcomes)), Some((make, outcomes)))
}

/// Made alike, and another thing in each family.
pub(crate) fn differ(name: &'static str, make: Make, four: Outcomes, six: Outcomes) -> Case {
    case(name, Some((make, four)), Some((make, six)))
}

/// What says the same in each family is made in two ways.
pub(crate) fn pair(name: &'static str, four: (Make, Outcomes), six: (Make, Outcomes)) -> Case {
    case(name, Some(four), Some(six))
}

/// There is no such thing in IPv6.
pub(crate) fn v4(name: &'static str, make: Make, outcomes: Outcomes) -> Case {
    case(name, Some((make, outcomes)), None)
}

/// There is no such thing in IPv4.
pub(crate) fn v6(name: &'static str, make: Make, outcomes: Outcomes) -> Case {
    case(name, None, Some((make, outcomes)))
}

/// What the host knows when the frame comes. Times are nanoseconds from now, before it if they are negative.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) carries: Carries,
    /// None: for ever.
    pub(crate) deadline: Option<i64>,
    pub(crate) lease: Option<i64>,
    pub(crate) mtu: u16,
    /// There is an entry at all.
    pub(crate) paired: bool,
    /// The registry's refusal stands until then.
    pub(crate) refused: Option<i64>,
    /// Packets of the tap that the agent holds.
    pub(crate) held: u64,
    /// The tap has raised as many events as it may for now.
    pub(crate) asked_enough: bool,
    /// The tap has had as many answers as it may for now.
    pub(crate) answered_enough: bool,
    /// A next hop to the peer host is known.
    pub(crate) reachable: bool,
    /// The tap is some guest's.
    pub(crate) tap_known: bool,
    /// The entry has a peer host of the family that the underlay has not.
    pub(crate) other_underlay: bool,
    /// What the receiving guest has said to the sender before.
    pub(crate) opened: Option<Make>,
    /// Segmentation, as far as a test run can ask for it: bytes in each segment, and how many.
    pub(crate) gso: (u32, u32),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            carries: carries(CARRIES_ALL, &[]),
            deadline: None,
            lease: None,
            mtu: crate::world::MTU,
            paired: true,
            refused: None,
            held: 0,
            asked_enough: false,
            answered_enough: false,
            reachable: true,
            tap_known: true,
            other_underlay: false,
            opened: None,
            gso: (0, 0),
        }
    }
}
