//! What arrived big from other hosts, after the kernel's VXLAN device has taken the outer header off: the same
//! verification once more, from what the device says about that header. Nothing else lives on that device, so
//! whatever is not a pair's packet dies here.
use crate::{arrival, maps, skb, skb::Skb};
use pairgate_abi::DropReason;
use pairgate_packet::{Verdict, Way, ip::Family, receiver};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let outer = skb
        .tunnel(Family::of(&maps::settings().host))
        .ok_or(DropReason::Outer)?;
    skb.pull(receiver::read(0))?;
    let metadata = skb.metadata()?;
    if metadata.vlan {
        return Err(DropReason::Inner); // the kernel has lifted the tag out of the inner frame
    }
    let (pair, packet) = arrival::pair(skb, &metadata, &outer, 0, skb::now(), slot)?;
    skb.store(0, &receiver::delivery(pair.mac, packet.family), 0)?;
    Ok(Verdict::Redirect(Way::Tap(pair.tap)))
}
