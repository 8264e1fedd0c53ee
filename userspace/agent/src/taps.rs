//! Makes, adopts and removes the taps of this host's guests.
//!
//! A tap is made down, without addresses, silent ([`crate::silence`]), and stays the agent's private and passing thing until
//! its programs hold it: only then is it made to outlive the agent and brought up. An agent that dies in
//! between leaves nothing. Once it is up, the tap and its programs stay when the agent ends; the next agent
//! knows it by its alias, which names the VM.
//!
//! A tap belongs to the agent's own user: one without an owner could be opened by any process that may open
//! `/dev/net/tun`, which on most systems is every process, and whoever holds a tap speaks as its guest.
//!
//! Taps made by other hands are used if the agent is told their names ([`crate::adopt`]). Those it neither makes
//! nor deletes; it shuts them as soon as it sees them, and opens them for the VM whose tap has that name. It
//! refuses to touch any other interface that it has not made.

use crate::{
    adopt::Adoption,
    goal::Guest,
    net::{Link, Net, NetError},
    silence,
    tap_name::TapName,
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
};
use uuid::Uuid;

/// An interface's alias begins with this if it is ours; the VM's id follows.
const ALIAS: &str = "pairgate ";

/// A tap of this agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTap {
    pub index: u32,
    pub name: String,
    pub vm: Uuid,
}

/// A tap that may still be down and passing.
#[derive(Debug)]
pub struct ReadyTap {
    pub index: u32,
    /// Packets that it has handed to a guest or dropped in its life.
    pub handed_on: u64,
    is_up: bool,
    mtu: u32,
    /// Open until the tap is made to last; none for an adopted one.
    fresh: Option<File>,
}

impl ReadyTap {
    fn new(link: &Link, fresh: Option<File>) -> Self {
        Self {
            index: link.index,
            handed_on: link.tx_packets.saturating_add(link.tx_dropped),
            is_up: link.is_up,
            mtu: link.mtu,
            fresh,
        }
    }
}

/// Why a guest has no tap.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    #[error("an interface {name} exists already and is not this agent's tap for the VM; rename or remove it")]
    Foreign { name: TapName },
    #[error("cannot {verb} tap {name}: {source}")]
    Kernel {
        verb: &'static str,
        name: TapName,
        source: io::Error,
    },
    #[error("cannot set what keeps the host silent on {name}: {source}")]
    Setting { name: String, source: io::Error },
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("tap {name} vanished while it was being made")]
    Vanished { name: TapName },
}

/// Of these interfaces the taps that an agent made.
pub fn own(links: &[Link]) -> impl Iterator<Item = OwnTap> {
    links.iter().filter_map(own_tap)
}

fn own_tap(link: &Link) -> Option<OwnTap> {
    let vm = link.alias.as_deref()?.strip_prefix(ALIAS)?;
    // A veth end can stand for a tap where the guest is a container, or a benchmark. Only root can write an alias.
    let vm = Uuid::try_parse(vm).ok().filter(|_| link.is_tun || link.is_veth)?;
    Some(OwnTap {
        index: link.index,
        name: link.name.clone(),
        vm,
    })
}

/// Of these interfaces the taps made by other hands that this agent is to guard.
pub fn adopted<'a>(links: &'a [Link], adoption: &'a Adoption) -> impl Iterator<Item = &'a Link> {
    let others = links.iter().filter(|link| own_tap(link).is_none());
    others.filter(|link| adoption.takes(&link.name, link.is_tap))
}

/// The guest's tap: the one that is there, or a new one, which is down. None if other hands are to make it and
/// have not yet.
pub async fn ready(net: &Net, guest: &Guest, adoption: &Adoption) -> Result<Option<ReadyTap>, TapError> {
    let name = &guest.tap;
    if let Some(link) = net.link_by_name(name.as_str()).await? {
        let ours = own_tap(&link).is_some_and(|tap| tap.vm == guest.id);
        if !ours && adopted(std::slice::from_ref(&link), adoption).next().is_none() {
            return Err(TapError::Foreign { name: name.clone() });
        }
        silence(net, &link).await?;
        return Ok(Some(ReadyTap::new(&link, None)));
    }
    if adoption.takes(name.as_str(), true) {
        return Ok(None);
    }
    let vanished = || TapError::Vanished { name: name.clone() };
    let queue = create(name)?;
    let link = net.link_by_name(name.as_str()).await?.ok_or_else(vanished)?;
    silence(net, &link).await?;
    net.set_alias(link.index, &format!("{ALIAS}{}", guest.id)).await?;
    Ok(Some(ReadyTap::new(&link, Some(queue))))
}

/// Makes the tap last and brings it up. To be called when both programs hold it, and not before.
pub async fn open(net: &Net, guest: &Guest, tap: ReadyTap) -> Result<(), TapError> {
    if tap.mtu != u32::from(guest.mtu) {
        net.set_mtu(tap.index, guest.mtu).await?;
    }
    if let Some(queue) = &tap.fresh {
        persist(&guest.tap, queue)?;
    }
    if !tap.is_up {
        net.set_up(tap.index).await?;
    }
    Ok(())
}

/// A tap that is open stays up, with its guest's MTU; returns what was not so. To be called only while the programs
/// hold it.
pub async fn keep_open(net: &Net, link: &Link, mtu: u16) -> Result<Vec<String>, NetError> {
    let wrong = deviations(link, mtu);
    if link.mtu != u32::from(mtu) {
        net.set_mtu(link.index, mtu).await?;
    }
    if !link.is_up {
        net.set_up(link.index).await?;
    }
    Ok(wrong)
}

fn deviations(link: &Link, mtu: u16) -> Vec<String> {
    let other_mtu = (link.mtu != u32::from(mtu))
        .then(|| format!("{} was given the MTU {} instead of {mtu}", link.name, link.mtu));
    let down = (!link.is_up).then(|| format!("{} was set down", link.name));
    other_mtu.into_iter().chain(down).collect()
}

/// Deletes a tap; its queue goes with it.
pub async fn remove(net: &Net, index: u32) -> Result<(), NetError> {
    net.delete(index).await
}

/// Nothing that comes in by a tap shall be heard by the host's own stack, even if somebody takes our programs off;
/// returns what was not so.
pub async fn silence(net: &Net, link: &Link) -> Result<Vec<String>, TapError> {
    let kept = silence::keep(&link.name).map_err(|source| TapError::Setting {
        name: link.name.clone(),
        source,
    })?;
    let mut mended: Vec<_> = kept
        .into_iter()
        .map(|deviation| format!("{} was {}", deviation.setting.key(&link.name), deviation.found))
        .collect();
    if link.has_arp {
        net.set_no_arp(link.index).await?;
        mended.push(format!("{} took part in ARP", link.name));
    }
    Ok(mended)
}

fn kernel(verb: &'static str, name: &TapName) -> impl Fn(io::Error) -> TapError {
    move |source| TapError::Kernel {
        verb,
        name: name.clone(),
        source,
    }
}

mod ioctl {
    use nix::libc::{c_int, ifreq};
    // TUNSETIFF reads and writes an `ifreq`, although its number claims an int.
    nix::ioctl_write_ptr_bad!(
        set_interface,
        nix::request_code_write!(b'T', 202, size_of::<c_int>()),
        ifreq
    );
    nix::ioctl_write_int_bad!(
        set_persist,
        nix::request_code_write!(b'T', 203, size_of::<c_int>())
    );
    nix::ioctl_write_int_bad!(set_owner, nix::request_code_write!(b'T', 204, size_of::<c_int>()));
}

/// Netlink cannot make taps. The interface lives as long as the file, until it is made to last.
fn create(name: &TapName) -> Result<File, TapError> {
    let queue = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(kernel("open /dev/net/tun for", name))?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            // The flags are a bit field of 16: the cast keeps every bit.
            ifru_flags: flags as libc::c_short,
        },
    };
    // A name has at most 15 bytes, so an ending zero stays.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the descriptor is a tun file, and the kernel reads and writes one `ifreq`, which we own.
    let done = unsafe { ioctl::set_interface(queue.as_raw_fd(), &raw const request) };
    done.map_err(|error| kernel("make", name)(error.into()))?;
    own_alone(name, &queue)?;
    Ok(queue)
}

/// From here on only this agent's user, and whoever may administer the network, can open the tap.
fn own_alone(name: &TapName, queue: &File) -> Result<(), TapError> {
    // The kernel takes the number as an unsigned one.
    let owner = nix::unistd::geteuid().as_raw() as libc::c_int;
    // SAFETY: the call takes a descriptor and a number.
    let done = unsafe { ioctl::set_owner(queue.as_raw_fd(), owner) };
    done.map(drop).map_err(|error| kernel("own", name)(error.into()))
}

fn persist(name: &TapName, queue: &File) -> Result<(), TapError> {
    // SAFETY: the call takes a descriptor and a number.
    let done = unsafe { ioctl::set_persist(queue.as_raw_fd(), 1) };
    done.map(drop).map_err(|error| kernel("keep", name)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_that_is_down_or_has_another_mtu_is_not_as_it_was_opened() {
        let open = Link {
            name: "tap-web1".to_owned(),
            is_up: true,
            mtu: 1500,
            ..Link::default()
        };
        assert!(deviations(&open, 1500).is_empty());
        let narrow = ["tap-web1 was given the MTU 1500 instead of 1450"];
        assert_eq!(deviations(&open, 1450), narrow);
        let down = Link { is_up: false, ..open };
        assert_eq!(deviations(&down, 1500), ["tap-web1 was set down"]);
    }

    #[test]
    fn only_a_tap_with_our_alias_is_ours() {
        let vm = Uuid::new_v4();
        let ours = Link {
            alias: Some(format!("pairgate {vm}")),
            is_tun: true,
            ..Link::default()
        };
        assert_eq!(own_tap(&ours).unwrap().vm, vm);
        let veth = Link {
            is_tun: false,
            is_veth: true,
            ..ours.clone()
        };
        assert_eq!(own_tap(&veth).unwrap().vm, vm);
        let bridge = Link {
            is_tun: false,
            ..ours.clone()
        };
        let nameless = Link {
            alias: None,
            ..ours.clone()
        };
        let other = Link {
            alias: Some(format!("libvirt {vm}")),
            ..ours
        };
        for link in [bridge, nameless, other] {
            assert_eq!(own_tap(&link), None, "{link:?}");
        }
    }
}
