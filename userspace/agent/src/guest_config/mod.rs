//! Guests come up by themselves: DHCPv4, DHCPv6 and router solicitations, answered on the guest's own tap.
//!
//! ```text
//! from_tap: a question? ─ ring QUESTIONS ─▶ frame (what is asked) ─▶ facts (of the guest behind that tap)
//!                                           ─▶ dhcp4 | dhcp6 | advertise ─▶ packet socket, the same tap
//! ```
//!
//! Who asks is known by the tap, and by nothing that the guest says. The answers are pure functions of the question
//! and of what the goal state says about the guest now; nothing is remembered about leases, so an agent that starts
//! anew answers as the one before. Nothing here opens a pair, and a guest without pairs has its addresses and no way
//! to anybody.

mod advertise;
mod answer;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the codec's enumerations are the protocol's registries: what is not named here is not understood"
)]
mod dhcp4;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the codec's enumerations are the protocol's registries: what is not named here is not understood"
)]
mod dhcp6;
mod facts;
mod frame;
mod given;
mod sift;

pub use answer::{Answer, Kind, Protocol, Silence};
pub use facts::Facts;
pub use frame::{Asked, read};
pub use given::{Given, Told};

use crate::{
    clock::BootTime,
    keeper::{KeeperHandle, Seat},
    metrics::Metrics,
    ring,
    tap_socket::TapSocket,
    uplink::Uplink,
};
use aya::maps::{MapData, RingBuf};
use pairgate_abi::Question;
use std::{io, net::Ipv6Addr, sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use zerocopy::FromBytes;

/// A question that is older has been asked again: it lay in the ring while no agent ran.
const LONGEST: Duration = Duration::from_secs(3);
/// How often every guest hears of its router without having asked: a few times in the life of what it heard last.
const ADVERTISE_EVERY: Duration = Duration::from_secs(3600);

/// Answers a question; a pure function of both.
pub fn answer(asked: Asked<'_>, facts: &Facts) -> Result<Answer, Silence> {
    match asked {
        Asked::Dhcp4 { message } => dhcp4::answer(message, facts),
        Asked::Dhcp6 { from, message } => dhcp6::answer(message, from, facts),
        Asked::Router { from } => advertise::answer(from, facts),
    }
}

/// See the module.
#[derive(Debug)]
pub struct Configurator {
    pub keeper: KeeperHandle,
    pub metrics: Arc<Metrics>,
    pub given: Arc<Given>,
    pub socket: TapSocket,
    pub uplink: Uplink,
}

impl Configurator {
    /// Answers until `stop`.
    pub async fn run(self, questions: RingBuf<MapData>, stop: CancellationToken) -> io::Result<()> {
        let mut questions = ring::readable(questions)?;
        let mut advertise = interval(ADVERTISE_EVERY);
        advertise.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = advertise.tick() => self.advertise(),
                ready = questions.readable_mut() => {
                    let mut ready = ready?;
                    while let Some(item) = ready.get_inner_mut().next() {
                        if let Ok(question) = Question::ref_from_bytes(&item) {
                            self.attend(question);
                        }
                    }
                    ready.clear_ready();
                }
            }
        }
    }

    fn attend(&self, question: &Question) {
        let length = usize::try_from(question.length).unwrap_or(usize::MAX);
        let Some((mac, asked)) = question.frame.get(..length).and_then(|frame| read(frame).ok()) else {
            tracing::error!(
                tap = question.tap,
                "a guest's question is not what its record says"
            );
            return;
        };
        let protocol = asked.protocol();
        let answered = self.reply(question, mac, asked);
        match answered {
            Ok(kind) => {
                tracing::debug!(
                    tap = question.tap,
                    protocol = protocol.word(),
                    answer = kind.word(),
                    "a guest was told"
                );
                self.metrics.configured(protocol, kind.word());
            }
            // A guest can cause these at will, so they are no line of the log by default.
            Err(why) => {
                tracing::debug!(tap = question.tap, protocol = protocol.word(), %why, "a guest's question has no answer");
                self.metrics.configured(protocol, why.word());
            }
        }
    }

    fn reply(&self, question: &Question, mac: [u8; 6], asked: Asked<'_>) -> Result<Kind, Silence> {
        if BootTime::from_nanos(question.at_ns).after(LONGEST) <= BootTime::now() {
            return Err(Silence::Late);
        }
        let view = self.keeper.view();
        let guest = view.guest_of_tap(question.tap).filter(|guest| guest.mac == mac);
        let guest = guest.ok_or(Silence::NoGuest)?;
        let facts = Facts::of(guest, self.uplink.largest_inner());
        let answer = answer(asked, &facts)?;
        self.socket
            .send(question.tap, &answer.frame)
            .map_err(|_| Silence::Unsent)?;
        self.given.note(guest.id, asked.protocol(), answer.kind);
        Ok(answer.kind)
    }

    /// Tells every guest of its router.
    fn advertise(&self) {
        let view = self.keeper.view();
        self.given.keep(|vm| view.guests.contains_key(&vm));
        for (vm, Seat { tap, .. }) in view
            .guests
            .iter()
            .filter_map(|(vm, guest)| Some((vm, guest.seat?)))
        {
            let Some(guest) = view.goal.as_ref().and_then(|goal| goal.guests.get(vm)) else {
                continue;
            };
            // A guest that is not there hears it when it asks.
            if let Ok(answer) = advertise::answer(
                Ipv6Addr::UNSPECIFIED,
                &Facts::of(guest, self.uplink.largest_inner()),
            ) {
                let _ = self.socket.send(tap, &answer.frame);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "as above")]
mod tests;
