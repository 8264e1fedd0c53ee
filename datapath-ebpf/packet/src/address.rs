//! Guests' and hosts' addresses: 16 bytes, IPv6 as it stands in a packet, IPv4 as `::ffff:a.b.c.d`.
use crate::ip::Family;
use pairgate_abi::{DropReason, OWN_ADDRESSES, TapEntry};
use zerocopy::transmute;

/// An IPv4 address as the contract has it.
#[inline(always)]
pub const fn wide(a: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]]
}

/// The IPv4 address in a contract address, if it is one.
#[inline(always)]
pub fn narrow(a: &[u8; 16]) -> Option<[u8; 4]> {
    Address::of(a).ipv4()
}

/// An address in two registers, as its bytes stand in memory: sixteen separate bytes would not fit into the stack
/// that a program has, and cost as many steps to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address([u64; 2]);

impl Address {
    /// No address (`::`).
    pub const NONE: Self = Self([0; 2]);

    /// The address with these bytes.
    #[inline(always)]
    pub fn of(bytes: &[u8; 16]) -> Self {
        Self(transmute!(*bytes))
    }

    /// An IPv4 address.
    #[inline(always)]
    pub fn of_ipv4(bytes: [u8; 4]) -> Self {
        Self([0, (0xffff << 32 | u32::from_be_bytes(bytes) as u64).to_be()])
    }

    /// Its bytes.
    #[inline(always)]
    pub fn bytes(self) -> [u8; 16] {
        transmute!(self.0)
    }

    /// The address as two numbers.
    #[inline(always)]
    pub(crate) fn halves(self) -> (u64, u64) {
        (u64::from_be(self.0[0]), u64::from_be(self.0[1]))
    }

    /// The sum of its bytes in numbers of four bytes, for a checksum.
    #[inline(always)]
    pub(crate) fn sum(self) -> u64 {
        let (high, low) = self.halves();
        (high >> 32) + (high & 0xffff_ffff) + (low >> 32) + (low & 0xffff_ffff)
    }

    /// True if it stands for an IPv4 address.
    #[inline(always)]
    pub fn is_ipv4(self) -> bool {
        let (high, low) = self.halves();
        high == 0 && low >> 32 == 0xffff
    }

    /// The IPv4 address that it stands for.
    #[inline(always)]
    pub fn ipv4(self) -> Option<[u8; 4]> {
        self.is_ipv4().then_some((self.halves().1 as u32).to_be_bytes())
    }

    /// True for an IPv6 address of one link (`fe80::/10`).
    #[inline(always)]
    pub fn is_link_local(self) -> bool {
        self.halves().0 >> 54 == 0xfe80 >> 6
    }

    /// True for what only looks like IPv6: `::/96` (unspecified, loopback, the old compatible form) and
    /// `::ffff:0:0/96`, which would be taken for IPv4 here.
    #[inline(always)]
    pub(crate) fn is_disguised(self) -> bool {
        let (high, low) = self.halves();
        high == 0 && (low >> 32 == 0 || low >> 32 == 0xffff)
    }
}

/// The first `bits` of 64, as a mask; more than 64 count as 64.
#[inline(always)]
fn mask(bits: u8) -> u64 {
    match bits {
        0 => 0,
        1..=63 => u64::MAX << (64 - bits as u32),
        _ => u64::MAX,
    }
}

/// True if both addresses lie in one prefix of that many bits; more than 128 count as 128.
#[inline(always)]
fn share(a: Address, b: Address, prefix: u8) -> bool {
    let ((a_high, a_low), (b_high, b_low)) = (a.halves(), b.halves());
    (a_high ^ b_high) & mask(prefix) == 0 && (a_low ^ b_low) & mask(prefix.saturating_sub(64)) == 0
}

/// Number of the tap's addresses that count.
#[inline(always)]
fn count(tap: &TapEntry) -> usize {
    (tap.count as usize).min(OWN_ADDRESSES)
}

/// True if the guest behind the tap owns the address.
#[inline(never)]
pub fn is_own(tap: &TapEntry, address: Address) -> bool {
    let mut at = 0;
    while at < count(tap) {
        if Address::of(&tap.addresses[at]) == address {
            return true;
        }
        at += 1;
    }
    false
}

/// True if the address lies in a network of the guest behind the tap.
#[inline(never)]
pub fn is_near(tap: &TapEntry, address: Address) -> bool {
    let mut at = 0;
    while at < count(tap) {
        let own = Address::of(&tap.addresses[at]);
        // A short enough prefix of IPv6 would hold all of IPv4.
        if own.is_ipv4() == address.is_ipv4() && share(own, address, tap.prefixes[at]) {
            return true;
        }
        at += 1;
    }
    false
}

/// True if the address is the broadcast address of an IPv4 network of the guest behind the tap.
#[inline(never)]
fn is_broadcast(tap: &TapEntry, address: Address) -> bool {
    let to = address.halves().1 as u32;
    let mut at = 0;
    while at < count(tap) {
        let (own, prefix) = (Address::of(&tap.addresses[at]), tap.prefixes[at]);
        let hosts = !(mask(prefix.saturating_sub(64)) as u32);
        let apart = own.halves().1 as u32 ^ to;
        // A prefix of 31 or 32 has no broadcast address (RFC 3021).
        if own.is_ipv4() && prefix <= 96 + 30 && apart & !hosts == 0 && to & hosts == hosts {
            return true;
        }
        at += 1;
    }
    false
}

/// Refuses destinations that no peer can have, whoever asks.
///
/// Flooding addresses are `multicast`: groups, the limited broadcast, 0.0.0.0 (its forgotten spelling). Addresses
/// that cannot stand on a wire at all are `bad_header`: loopback, the rest of 0/8 and of 240/4. IPv6 addresses
/// that are disguised are refused with the header.
#[inline(always)]
pub fn check_destination(family: Family, destination: Address) -> Result<(), DropReason> {
    let (high, low) = destination.halves();
    match family {
        Family::V4 => {
            let (first, low) = ((low >> 24) as u8, low as u32);
            if low == 0 || low == u32::MAX || first & 0xf0 == 0xe0 {
                Err(DropReason::Multicast)
            } else if first == 0 || first == 127 || first >= 240 {
                Err(DropReason::BadHeader)
            } else {
                Ok(())
            }
        }
        Family::V6 if high >> 56 == 0xff => Err(DropReason::Multicast),
        Family::V6 => Ok(()),
    }
}

/// Refuses destinations to which no pair can lead from the guest behind the tap: its own (`bad_header`; no honest
/// stack sends itself a frame), and the broadcast addresses of its own networks (`multicast`). Asked only where no
/// entry was found, so that the packets of pairs do not pay for it.
#[inline(always)]
pub fn check_peer(tap: &TapEntry, destination: Address) -> Result<(), DropReason> {
    if is_own(tap, destination) {
        Err(DropReason::BadHeader)
    } else if destination.is_ipv4() && is_broadcast(tap, destination) {
        Err(DropReason::Multicast)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap(addresses: &[([u8; 16], u8)]) -> TapEntry {
        let mut tap = TapEntry {
            mac: [2; 6],
            count: addresses.len() as u8,
            reserved: 0,
            slot: 1,
            prefixes: [0; OWN_ADDRESSES],
            addresses: [[0; 16]; OWN_ADDRESSES],
        };
        for (at, (address, prefix)) in addresses.iter().enumerate() {
            (tap.addresses[at], tap.prefixes[at]) = (*address, *prefix);
        }
        tap
    }

    fn v6(last: u8) -> [u8; 16] {
        [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
    }

    #[test]
    fn only_networks_with_room_for_it_have_a_broadcast_address() {
        let of = |last, prefix: u8, to| {
            let tap = tap(&[(wide([10, 0, 0, last]), 96 + prefix)]);
            check_peer(&tap, Address::of_ipv4([10, 0, 0, to]))
        };
        assert_eq!(of(1, 30, 3), Err(DropReason::Multicast));
        assert_eq!(of(1, 24, 255), Err(DropReason::Multicast));
        assert_eq!(
            of(1, 24, 3),
            Ok(()),
            "the end of a smaller network is a peer in this one"
        );
        assert_eq!(
            of(0, 31, 1),
            Ok(()),
            "the other end of a link was taken for everyone"
        );
        assert_eq!(of(1, 32, 2), Ok(()));
        assert_eq!(
            of(1, 0, 255),
            Ok(()),
            "the broadcast address of everything is the limited one"
        );
        assert_eq!(
            check_destination(Family::V4, Address::of_ipv4([255; 4])),
            Err(DropReason::Multicast)
        );
        assert_eq!(of(1, 33, 255), Ok(()), "a length over 32 is no longer a network");
    }

    #[test]
    fn some_destinations_are_nobodys() {
        let v4 = |bytes| check_destination(Family::V4, Address::of_ipv4(bytes));
        for bytes in [[0; 4], [255; 4], [224, 0, 0, 0], [239, 255, 255, 255]] {
            assert_eq!(v4(bytes), Err(DropReason::Multicast), "{bytes:?}");
        }
        for bytes in [[0, 0, 0, 1], [127, 0, 0, 1], [240, 0, 0, 0], [255, 255, 255, 254]] {
            assert_eq!(v4(bytes), Err(DropReason::BadHeader), "{bytes:?}");
        }
        for bytes in [
            [1, 0, 0, 0],
            [126, 255, 255, 255],
            [128, 0, 0, 0],
            [223, 255, 255, 255],
        ] {
            assert_eq!(v4(bytes), Ok(()), "{bytes:?}");
        }
        let v6 = |first| {
            let mut bytes = self::v6(1);
            bytes[0] = first;
            check_destination(Family::V6, Address::of(&bytes))
        };
        assert_eq!(v6(0xff), Err(DropReason::Multicast));
        for first in [0xfe, 0xfd, 0x7f, 0] {
            assert_eq!(v6(first), Ok(()), "{first:#x}");
        }
    }

    #[test]
    fn a_table_without_an_empty_place_is_read_to_its_end() {
        let own: [_; OWN_ADDRESSES] = core::array::from_fn(|at| (wide([10, 0, at as u8 + 1, 1]), 120));
        let full = tap(&own);
        for last in 1..=OWN_ADDRESSES as u8 {
            assert!(is_own(&full, Address::of_ipv4([10, 0, last, 1])));
            let everybody = check_peer(&full, Address::of_ipv4([10, 0, last, 255]));
            assert_eq!(everybody, Err(DropReason::Multicast));
        }
        assert_eq!(check_peer(&full, Address::of_ipv4([10, 0, 99, 255])), Ok(()));
        assert!(!is_near(&full, Address::of_ipv4([10, 0, 99, 1])));
    }

    #[test]
    fn the_sum_of_an_address_is_that_of_its_four_numbers() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let numbers = [0x0102_0304_u64, 0x0506_0708, 0x090a_0b0c, 0x0d0e_0f10];
        assert_eq!(Address::of(&bytes).sum(), numbers.iter().sum::<u64>());
        assert_eq!(Address::of(&[0xff; 16]).sum(), 4 * 0xffff_ffff);
    }

    #[test]
    fn every_own_address_counts_and_none_behind_the_count() {
        let mut tap = tap(&[(wide([10, 0, 0, 1]), 120), (v6(1), 64), (v6(2), 64)]);
        for own in [wide([10, 0, 0, 1]), v6(1), v6(2)] {
            assert!(is_own(&tap, Address::of(&own)));
        }
        assert_eq!(check_peer(&tap, Address::of(&v6(2))), Err(DropReason::BadHeader));
        assert_eq!(check_peer(&tap, Address::of(&v6(3))), Ok(()));
        tap.count = 2;
        assert!(
            !is_own(&tap, Address::of(&v6(2))),
            "an address that was taken away still counts"
        );
        tap.count = 0;
        assert!(
            !is_own(&tap, Address::of(&[0; 16])),
            "the empty places behind the count are addresses"
        );
        tap.count = 255;
        assert!(!is_own(&tap, Address::of(&v6(9))), "a count beyond the table");
    }

    #[test]
    fn a_network_holds_its_own_family_and_its_prefix_alone() {
        let tap = tap(&[(wide([10, 0, 0, 1]), 120), (v6(1), 64)]);
        assert!(is_near(&tap, Address::of_ipv4([10, 0, 0, 200])));
        assert!(!is_near(&tap, Address::of_ipv4([10, 0, 1, 1])));
        assert!(is_near(&tap, Address::of(&v6(200))));
        let other = [0xfd, 0x77, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(!is_near(&tap, Address::of(&other)));
        let all = self::tap(&[(v6(1), 0)]);
        assert!(is_near(&all, Address::of(&other)));
        assert!(
            !is_near(&all, Address::of_ipv4([10, 0, 0, 1])),
            "IPv4 lies in no IPv6 network"
        );
    }

    #[test]
    fn what_stands_for_ipv4_is_no_ipv6_address() {
        let mut compatible = [0; 16];
        compatible[12..].copy_from_slice(&[10, 0, 0, 1]);
        for address in [wide([10, 0, 0, 1]), [0; 16], compatible] {
            assert!(Address::of(&address).is_disguised());
        }
        assert!(!Address::of(&v6(1)).is_disguised());
        assert_eq!(narrow(&v6(1)), None);
        assert_eq!(narrow(&compatible), None);
        assert_eq!(narrow(&wide([1, 2, 3, 4])), Some([1, 2, 3, 4]));
    }
}
