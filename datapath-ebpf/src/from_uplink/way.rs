//! Which way a packet takes that may pass: straight to its guest, or by the host's VXLAN device.
//!
//! The device takes what is big: taking the header off here would leave the marks of the tunnel on a packet that is
//! still to be cut. And it takes, for a moment, whatever follows in the same flow: on an uplink that gathers
//! packets the way by the device is the longer one, and what went straight would overtake it. On kernels that cannot
//! say which family comes out from under the header, it takes every packet of the family that is not the underlay's.
use crate::{maps, memory};
use pairgate_abi::{DropReason, limits};
use pairgate_packet::{
    outer::{self, Outer},
    receiver,
};

/// How old the instant of a flow's last big packet may get before it is written again.
const STEP_NS: u64 = limits::BIG_NS / 16;

/// True if the frame goes by the device. A host without one takes nothing big.
#[inline(always)]
pub fn is_by_device(
    is_gso: bool,
    outer: &Outer,
    is_other_family: bool,
    now: u64,
) -> Result<bool, DropReason> {
    if maps::settings().vxlan == 0 {
        return if is_gso {
            Err(DropReason::Offload)
        } else {
            Ok(false)
        };
    }
    if is_other_family && maps::settings().other_family_by_device != 0 {
        return Ok(true); // always, so nothing of the flow overtakes it
    }
    let Some(last) = maps::big(outer::big_cell(outer)) else {
        return Err(DropReason::Internal);
    };
    if is_gso {
        memory::touch(last, now, STEP_NS);
    }
    Ok(receiver::goes_big(is_gso, memory::number(last), now))
}
