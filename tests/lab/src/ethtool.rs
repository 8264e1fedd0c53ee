//! What an interface leaves to hardware, or gathers before the stack sees it: the kernel's ethtool interface.
//!
//! ```text
//! ETHTOOL_GSSET_INFO  cmd u32, reserved u32, mask u64, lengths [u32]      how many features have names
//! ETHTOOL_GSTRINGS    cmd u32, set u32, count u32, names [[u8; 32]]       the names; a feature's place is its bit
//! ETHTOOL_SFEATURES   cmd u32, blocks u32, blocks of {valid u32, requested u32}
//! ```

use crate::netns::Netns;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::collections::HashMap;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const STRINGS: u32 = 0x1b;
const SET_INFO: u32 = 0x37;
const SET_FEATURES: u32 = 0x3b;
/// `ETH_SS_FEATURES`: which set of names is meant.
const FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`: bytes of a name.
const NAME: usize = 32;
/// More features than any kernel has: they stood at 64 for years.
const MOST: usize = 256;

nix::ioctl_write_ptr_bad!(ethtool, libc::SIOCETHTOOL, libc::ifreq);

/// TCP of every kind.
const CUT_TCP: [(&str, bool); 4] = [
    ("tx-tcp-segmentation", false),
    ("tx-tcp-ecn-segmentation", false),
    ("tx-tcp-mangleid-segmentation", false),
    ("tx-tcp6-segmentation", false),
];

/// Makes one end of a veth pair behave as a real network card does, and the other as the wire to it: TCP is cut up
/// before it crosses, and what arrives at the card is gathered by a thread of the kernel's. (A veth end receives so
/// only what comes from an end that cuts TCP.) Big packets of UDP still cross whole: on a wire the other end would
/// gather them, which this kernel does not do for what it has itself put into a tunnel.
pub fn like_a_card(card: (&Netns, &str), wire: (&Netns, &str)) -> Result<()> {
    for (netns, interface) in [card, wire] {
        set_features(netns, interface, &CUT_TCP)?;
    }
    set_features(card.0, card.1, &[("rx-gro", true)])?;
    thread_its_receiving(card.0, card.1)
}

/// Switches features on and off, by the names that `ethtool -k` shows as they are in the kernel.
pub fn set_features(netns: &Netns, interface: &str, wanted: &[(&str, bool)]) -> Result<()> {
    let done = netns.run(|| {
        let bits = feature_bits(interface)?;
        let mut blocks = [(0_u32, 0_u32); MOST / 32];
        let mut used = 0;
        for (name, on) in wanted {
            let bit = *bits
                .get(*name)
                .with_context(|| format!("this kernel knows no feature {name}"))?;
            let (valid, requested) = &mut blocks[bit / 32];
            *valid |= 1 << (bit % 32);
            *requested |= u32::from(*on) << (bit % 32);
            used = used.max(bits.len().div_ceil(32));
        }
        let mut command = words(&[SET_FEATURES, u32::try_from(used)?]);
        for (valid, requested) in &blocks[..used] {
            command.extend(words(&[*valid, *requested]));
        }
        call(interface, &mut command)
    })?;
    done.with_context(|| format!("cannot set the features of {interface} in {}", netns.name()))
}

/// Place of every feature by its name.
fn feature_bits(interface: &str) -> Result<HashMap<String, usize>> {
    let mut info = words(&[SET_INFO, 0, 1 << FEATURES, 0, 0]);
    call(interface, &mut info)?;
    let count = info.get(16..20).and_then(|bytes| bytes.try_into().ok());
    let count = count.map_or(0, u32::from_ne_bytes) as usize;
    if count == 0 || count > MOST {
        bail!("the kernel says that it has {count} features");
    }
    let mut names = words(&[STRINGS, FEATURES, u32::try_from(count)?]);
    names.resize(names.len() + count * NAME, 0);
    call(interface, &mut names)?;
    let names = names[12..].chunks_exact(NAME).map(|name| {
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME);
        String::from_utf8_lossy(&name[..end]).into_owned()
    });
    Ok(names.enumerate().map(|(bit, name)| (name, bit)).collect())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// One ethtool command in this namespace; the kernel reads and writes `command`.
fn call(interface: &str, command: &mut Vec<u8>) -> Result<()> {
    // The kernel reads numbers of 32 and 64 bits from it.
    let mut aligned: Vec<u64> = command
        .chunks(8)
        .map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        })
        .collect();
    let mut request = crate::tap::request_for(interface).context("the interface's name")?;
    request.ifr_ifru.ifru_data = aligned.as_mut_ptr().cast();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).or_else(|_| UdpSocket::bind(("::1", 0)))?;
    // SAFETY: the request names an interface and points to a buffer that lives through the call and is as long as
    // the counts in its own words say.
    let done = unsafe { ethtool(socket.as_raw_fd(), &raw const request) };
    done.context("the kernel refused an ethtool command")?;
    let length = command.len();
    *command = aligned.iter().flat_map(|word| word.to_ne_bytes()).collect();
    command.truncate(length);
    Ok(())
}

/// Each namespace has a view of `/sys` of its own, which must be mounted to be written; a thread does that where
/// nobody else sees it.
fn thread_its_receiving(netns: &Netns, interface: &str) -> Result<()> {
    let nothing = None::<&str>;
    let done = netns.run(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(
            nothing,
            "/",
            nothing,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            nothing,
        )?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), nothing)?;
        let written = std::fs::write(format!("/sys/class/net/{interface}/threaded"), "1");
        umount2("/sys", MntFlags::MNT_DETACH)?;
        written.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    })?;
    done.with_context(|| format!("cannot have {interface} in {} received by a thread", netns.name()))
}
