//! Network cards that vouch for checksums. What a card has found right in the outer packet says nothing about
//! the inner one, and a guest that is told "checked" does not check again.
use crate::{
    device::Vnet,
    frames::{arriving, delivered, inner_udp},
    world::World,
};
use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(5);
/// In a virtio-net header: the checksum has been checked.
const CHECKED: u8 = 2;

/// A tiny program before ours on the uplink, which says as a card's driver would that so many checksums of
/// each packet, from the outermost on, are right.
struct Card {
    _link: OwnedFd,
}

fn bpf(command: libc::c_int, attributes: &[u8]) -> OwnedFd {
    // SAFETY: the kernel reads the attributes; every pointer in them is to memory that outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) };
    assert!(answer >= 0, "bpf({command}): {}", io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(answer as i32) }
}

impl Card {
    fn that_checked(checksums: usize, interface: u32) -> Self {
        const LOAD: libc::c_int = 5;
        const LINK: libc::c_int = 28;
        /// `bpf_csum_level` with `BPF_CSUM_LEVEL_INC`.
        const VOUCH: [[u8; 8]; 3] = [
            [0xbf, 0x61, 0, 0, 0, 0, 0, 0],   // r1 = r6
            [0xb7, 0x02, 0, 0, 1, 0, 0, 0],   // r2 = 1
            [0x85, 0x00, 0, 0, 135, 0, 0, 0], // call 135
        ];
        let mut code = vec![[0xbf, 0x16, 0, 0, 0, 0, 0, 0]]; // r6 = r1, the context
        (0..checksums).for_each(|_| code.extend(VOUCH));
        code.push([0xb7, 0x00, 0, 0, 0xff, 0xff, 0xff, 0xff]); // r0 = -1: the next program
        code.push([0x95, 0, 0, 0, 0, 0, 0, 0]); // exit
        let mut load = [0_u8; 128];
        load[0..4].copy_from_slice(&3_u32.to_ne_bytes()); // a traffic-control program
        load[4..8].copy_from_slice(&(code.len() as u32).to_ne_bytes());
        load[8..16].copy_from_slice(&(code.as_ptr() as u64).to_ne_bytes());
        load[16..24].copy_from_slice(&(c"GPL".as_ptr() as u64).to_ne_bytes());
        let program = bpf(LOAD, &load);
        let mut link = [0_u8; 64];
        link[0..4].copy_from_slice(&std::os::fd::AsRawFd::as_raw_fd(&program).to_ne_bytes());
        link[4..8].copy_from_slice(&interface.to_ne_bytes());
        link[8..12].copy_from_slice(&46_u32.to_ne_bytes()); // TCX ingress
        link[12..16].copy_from_slice(&8_u32.to_ne_bytes()); // before all others
        Self {
            _link: bpf(LINK, &link),
        }
    }
}

/// The flags with which the guest gets a packet from such a card. The packet's inner checksum is wrong, so
/// only a card that says so may make it "checked".
fn guest_is_told(checksums: usize) -> u8 {
    let world = World::running();
    let _card = Card::that_checked(checksums, world.uplink.index());
    let mut inner = inner_udp();
    inner[40] ^= 0x55;
    let frame = arriving(world.uplink.mac(), &inner);
    world.uplink.send(Vnet::default(), &frame).unwrap();
    let (vnet, seen) = world
        .guest
        .receive(PATIENCE, |_| true)
        .expect("the pair's packet");
    assert_eq!(seen, delivered(&inner));
    vnet.flags
}

#[test]
fn a_checksum_found_right_outside_says_nothing_about_the_inside() {
    assert_eq!(guest_is_told(0), 0, "a card that checks nothing");
    assert_eq!(
        guest_is_told(1),
        0,
        "the guest would take the outer checksum for its own"
    );
}

#[test]
fn a_checksum_found_right_inside_spares_the_guest_the_work() {
    assert_eq!(guest_is_told(2), CHECKED);
}

#[test]
fn a_guests_own_word_about_its_checksum_does_not_cross() {
    // The guest says "checked" and lies; nobody on the way may pass that on.
    let world = World::running();
    let mut frame = crate::frames::udp();
    frame[40] ^= 0x55;
    let vnet = Vnet {
        flags: CHECKED,
        ..Vnet::default()
    };
    world.guest.send(vnet, &frame).unwrap();
    let is_ipv4 = |frame: &[u8]| frame[12..14] == [8, 0];
    let (vnet, _) = world
        .uplink
        .receive(PATIENCE, is_ipv4)
        .expect("the pair's packet");
    assert_eq!(vnet.flags, 0);
}
