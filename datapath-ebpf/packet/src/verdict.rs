use pairgate_abi::{DropReason, NextHop};

/// What happens to a frame that is not dropped. Turned into an action, and counted, in one place only: the
/// programs' `verdict` module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it on.
    Redirect(Way),
    /// On the uplink: it is ours, allowed, and big: the host's VXLAN device takes it, and judges it again.
    ToDevice,
    /// On the uplink: it is none of our business, the host gets it as it came.
    NotOurs,
    /// On a tap, towards the guest: one of our programs sent it here.
    Delivered,
    /// On a tap: it has died of this, and what the frame holds now tells its guest so.
    Told(DropReason),
    /// On a tap: the agent has it, to hold it until it knows whether there is a pair, or to answer it.
    Held,
}

/// Where a redirected frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through an interface of the host to a neighbour on the underlay.
    Neighbour(NextHop),
    /// To the guest behind the tap with this interface index.
    Tap(u32),
}
