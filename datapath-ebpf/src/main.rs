//! The eBPF programs. Each looks up, asks the pure decisions of `pairgate_packet`, and does what they say.
//!
//! `from_tap`, `from_uplink` and `from_vxlan` are straight lines of named steps and never use each other (what two of
//! them share stands in `arrival` and `flows`); every answer leaves through `verdict`. A program that could panic would loop in the panic handler, which the kernel's
//! verifier refuses to load.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arrival;
mod budgets;
mod bytes;
mod flows;
mod from_tap;
mod from_uplink;
mod from_vxlan;
mod maps;
mod memory;
mod skb;
mod to_tap;
mod verdict;
mod xdp;
mod xdp_uplink;

use aya_ebpf::{
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use pairgate_abi::{Direction, DropReason};
use skb::Skb;
use xdp::Xdp;

/// What a guest sends; on the tap's ingress.
#[classifier]
pub fn from_tap(context: TcContext) -> i32 {
    let (skb, mut slot) = (Skb::new(context), 0);
    let result = from_tap::run(&skb, &mut slot);
    verdict::finish(&skb, Direction::FromTap, slot, result)
}

/// What is about to arrive from other hosts; in the uplink's driver, where that brings more than it costs.
#[xdp(frags)]
pub fn xdp_uplink(context: XdpContext) -> u32 {
    let (xdp, mut slot) = (Xdp::new(context), 0);
    let dies = xdp_uplink::run(&xdp, &mut slot);
    verdict::early(slot, dies)
}

/// What arrives from other hosts; on the uplink's ingress.
#[classifier]
pub fn from_uplink(context: TcContext) -> i32 {
    let (skb, mut slot) = (Skb::new(context), 0);
    let result = from_uplink::run(&skb, &mut slot);
    verdict::finish(&skb, Direction::FromUplink, slot, result)
}

/// What arrived big from other hosts, or beside what did; on the VXLAN device's ingress.
#[classifier]
pub fn from_vxlan(context: TcContext) -> i32 {
    let (skb, mut slot) = (Skb::new(context), 0);
    let result = from_vxlan::run(&skb, &mut slot);
    verdict::finish(&skb, Direction::FromVxlan, slot, result)
}

/// What is about to be queued to a guest; on the tap's egress.
#[classifier]
pub fn to_tap(context: TcContext) -> i32 {
    let (skb, mut slot) = (Skb::new(context), 0);
    let result = to_tap::run(&skb, &mut slot);
    verdict::finish(&skb, Direction::ToTap, slot, result)
}

/// Behind the programs that take frames in from a guest or from the VXLAN device, on the same hooks. Those never let a
/// frame go on, so what comes here has come past them: somebody has taken one off.
#[classifier]
pub fn stop_in(context: TcContext) -> i32 {
    let skb = Skb::new(context);
    let direction = if skb.interface() == maps::settings().vxlan {
        Direction::FromVxlan
    } else {
        Direction::FromTap
    };
    verdict::finish(&skb, direction, 0, Err(DropReason::NoState))
}

/// The same behind `to_tap`.
#[classifier]
pub fn stop_out(context: TcContext) -> i32 {
    verdict::finish(&Skb::new(context), Direction::ToTap, 0, Err(DropReason::NoState))
}

/// Never reached: the verifier refuses a program that holds this loop.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
