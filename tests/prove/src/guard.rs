//! What the guard in the uplink's driver costs and saves, on a tap: a driver that runs XDP programs by itself. Frames are
//! handed to it from user space, with the guard and without, in turn; what a call costs besides is the same in both.
//!
//! On a network card both figures are smaller, because a frame comes there without a system call, and what they are
//! made of is not: the guard's own work, and the kernel's way from the driver to `from_uplink`.
use crate::{
    generate::wrapped,
    kernel::Host,
    world::{Kind, Link, content, content::Peer, own::Own},
};
use anyhow::{Result, ensure};
use pairgate_abi::{Budget, Direction, DropReason, Handle, drop_index};
use pairgate_packet::ip::Family;
use std::time::Instant;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Each with and without.
    pub rounds: u32,
    /// Of each kind in each round.
    pub frames: u32,
}

/// What is sent, and what becomes of it with the guard.
struct Kept {
    name: &'static str,
    frame: Vec<u8>,
    dies: bool,
    /// Nanoseconds for a frame, in each round: without, and with.
    rounds: [Vec<f64>; 2],
}

/// Measures and prints.
pub fn measure(order: &Order) -> Result<()> {
    let own = Own::enter()?;
    let [kind, ..] = Kind::ALL;
    let mut host = Host::load(kind, &own.links)?;
    host.attach()?;
    own.up()?;
    own.wait_for_nothing()?;
    host.loaded.set_uplink_mac(own.links.uplink_mac)?;
    // As in a flood: the agent has been told as much as it may be.
    let spent = Budget {
        event_ns: u64::MAX,
        ..Budget::default()
    };
    host.budgets.set(&0, &spent)?;
    let (uplink, mut kept) = (own.links.index(Link::Uplink), kinds(&own));
    for round in 0..order.rounds {
        for turn in 0..2 {
            // Who goes first changes from round to round.
            let is_on = (round + turn) % 2 == 1;
            if is_on {
                host.loaded.attach_guard(uplink)?;
            } else {
                host.loaded.release_guards(None)?;
            }
            for one in &mut kept {
                let before = died(&host)?;
                let began = Instant::now();
                for _ in 0..order.frames {
                    own.send(uplink, &one.frame)?;
                }
                let took = began.elapsed().as_nanos() as f64 / f64::from(order.frames);
                one.rounds[usize::from(is_on)].push(took);
                let expected = if is_on && one.dies {
                    u64::from(order.frames)
                } else {
                    0
                };
                let died = died(&host)? - before;
                ensure!(
                    died == expected,
                    "{}: {died} of {expected} died in the guard",
                    one.name
                );
            }
        }
    }
    print(&mut kept, order);
    Ok(())
}

fn kinds(own: &Own) -> Vec<Kept> {
    let datagram = content::datagram(
        Family::V4,
        (Peer::All.last(), content::last(Link::Guest)),
        17,
        (9, 9),
    );
    let under = |handle: Handle| {
        let mut frame = Vec::new();
        wrapped(Family::V4, own.links.uplink_mac, handle, 7, &datagram, &mut frame);
        frame
    };
    let honest = under(content::in_handle(Link::Guest, Family::V4, Peer::All));
    let stray = under(Handle::from_wire([1, 1, 1], [1, 1]));
    let mut hosts_own = honest.clone();
    // To another port: nobody listens, and the host says nothing to what it drops on an uplink without address.
    hosts_own.splice(36..38, [0, 9]);
    let kept = |name, frame, dies| Kept {
        name,
        frame,
        dies,
        rounds: Default::default(),
    };
    vec![
        kept("a pair's frame", honest, false),
        kept("a frame of the host's own", hosts_own, false),
        kept("an unknown handle", stray, true),
    ]
}

fn died(host: &Host) -> Result<u64> {
    let index = drop_index(0, Direction::XdpUplink, DropReason::Handle);
    Ok(host.loaded.drops()?.get(&index, 0)?.iter().sum())
}

/// The middle one, and the quartiles.
fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|part| values.get(values.len() * part / 4).copied().unwrap_or(f64::NAN))
}

fn print(kept: &mut [Kept], order: &Order) {
    println!(
        "the guard on a tap, {} rounds of {} frames",
        order.rounds, order.frames
    );
    println!(
        "(ns a frame, and what the guard makes of it: medians; in brackets the middle half of the rounds)"
    );
    for one in kept {
        let [off, on] = &mut one.rounds;
        let mut more: Vec<f64> = on.iter().zip(off.iter()).map(|(on, off)| on - off).collect();
        let [low, middle, high] = quartiles(&mut more);
        println!(
            "{:<28} off {:>5.0}  on {:>5.0}  difference {middle:>+6.0} [{low:+.0} {high:+.0}]",
            one.name,
            quartiles(off)[1],
            quartiles(on)[1],
        );
    }
}
