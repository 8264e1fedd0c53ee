//! The guard in the uplink's driver: `xdp_uplink`, held by a pinned link like the others, and only where the driver runs
//! it by itself. The kernel's generic way would come after everything that it is to save.
//!
//! It is no part of what filters, so nothing else waits for it: it is loaded when it is first wanted, and a kernel
//! or driver that refuses it is told of and left alone.

use super::{attachment, load::Loaded, pins::Pins};
use aya::{
    pin::PinError,
    programs::{
        ProgramError, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        xdp::XdpLink,
    },
    sys::SyscallError,
};
use std::{fs, io, path::Path};

/// Its name in the object and in the pin directory.
pub const XDP_UPLINK: &str = "xdp_uplink";

/// The guard is not on.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The driver runs no such programs.
    #[error("the driver runs no XDP programs by itself")]
    NotNative,
    /// Somebody else's program is there.
    #[error("another XDP program is there")]
    Taken,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

fn failed(error: &dyn std::error::Error) -> GuardError {
    let cause = error.source().map(|cause| format!(": {cause}"));
    GuardError::Failed(format!("{error}{}", cause.unwrap_or_default()))
}

/// What the kernel's answer means.
fn refused(error: &ProgramError) -> GuardError {
    if let ProgramError::SyscallError(SyscallError { io_error, .. }) = error {
        return match io_error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => GuardError::NotNative,
            // The second: one that runs in the kernel's generic place.
            Some(libc::EBUSY | libc::EEXIST) => GuardError::Taken,
            _ => failed(error),
        };
    }
    failed(error)
}

impl Loaded {
    /// The program, loaded if it was not.
    pub fn guard(&mut self) -> Result<&mut Xdp, GuardError> {
        let program = self.loaded_object().program_mut(XDP_UPLINK);
        let program: Option<&mut Xdp> = program.and_then(|program| program.try_into().ok());
        let program = program.ok_or_else(|| GuardError::Failed("it is not in the object".to_owned()))?;
        if program.fd().is_err() {
            program.load().map_err(|error| failed(&error))?;
        }
        Ok(program)
    }

    /// The number by which the kernel knows the guard, while we hold it on an interface.
    pub fn guard_on(&mut self, interface: u32) -> Option<u32> {
        self.guard_link.as_ref().filter(|(held, _)| *held == interface)?;
        let info = self.guard().ok()?.info().ok()?;
        Some(info.id())
    }

    /// Takes up the guard that an earlier agent has left on an interface, unless one is held; true if it did. The program
    /// is another from then on, and no frame went past both.
    pub fn take_up_guard(&mut self, interface: u32) -> Result<bool, GuardError> {
        let pin = guard_pin(self.pins(), interface);
        if self.guard_link.is_some() || !pin.exists() {
            return Ok(false);
        }
        let link = taken_up(self.guard()?, &pin);
        self.guard_link = link.map(|link| (interface, link));
        Ok(self.guard_link.is_some())
    }

    /// Puts the guard on an interface, or takes up the one that an earlier agent has left there. To be called only
    /// while none of ours runs there.
    pub fn attach_guard(&mut self, interface: u32) -> Result<(), GuardError> {
        self.pins().are_kept().map_err(|error| failed(&error))?;
        let pin = guard_pin(self.pins(), interface);
        self.guard_link = None;
        let link = match taken_up(self.guard()?, &pin) {
            Some(link) => link,
            None => {
                attachment::remove(&pin).map_err(|error| failed(&error))?;
                let link = put(self.guard()?, interface)?;
                let pinned = link.pin(&pin).map_err(|error: PinError| failed(&error))?;
                FdLink::from(pinned)
            }
        };
        self.guard_link = Some((interface, link));
        Ok(())
    }

    /// Pins the guard anew if somebody has removed its pin, or put something else in its place; true if that was so.
    pub fn pin_guard_again(&mut self) -> Result<bool, GuardError> {
        let Some((interface, link)) = &self.guard_link else {
            return Ok(false);
        };
        let (interface, pin) = (*interface, guard_pin(self.pins(), *interface));
        let pinned = PinnedLink::from_pin(&pin);
        let is_ours = pinned.is_ok_and(|pinned| attachment::is_same(link, &FdLink::from(pinned)));
        // A pin that fails takes the link with it.
        if is_ours || self.pins().are_kept().is_err() {
            return Ok(false);
        }
        attachment::remove(&pin).map_err(|error| failed(&error))?;
        let Some((_, link)) = self.guard_link.take() else {
            return Ok(false);
        };
        let pinned = link.pin(&pin).map_err(|error: PinError| failed(&error))?;
        self.guard_link = Some((interface, FdLink::from(pinned)));
        Ok(true)
    }

    /// Takes the guard off, and those that earlier agents have left on other interfaces or under other versions: those
    /// go by maps that nobody keeps any more. With an interface given, the one there is left.
    pub fn release_guards(&mut self, but: Option<u32>) -> io::Result<()> {
        self.guard_link.take_if(|(interface, _)| but != Some(*interface));
        let kept = but.map(|interface| guard_pin(self.pins(), interface));
        let above = self.pins().directory().parent().unwrap_or(Path::new("/"));
        for pins in Pins::every(above)? {
            for entry in fs::read_dir(pins.directory())? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.ends_with(&format!("-{XDP_UPLINK}")) && kept.as_ref() != Some(&path) {
                    attachment::remove(&path)?;
                }
            }
        }
        Ok(())
    }
}

fn guard_pin(pins: &Pins, interface: u32) -> std::path::PathBuf {
    pins.directory().join(format!("link-{interface}-{XDP_UPLINK}"))
}

/// The link that is pinned there, with our program in it. One whose interface is gone takes none.
fn taken_up(program: &mut Xdp, pin: &Path) -> Option<FdLink> {
    let link = FdLink::from(PinnedLink::from_pin(pin).ok()?);
    let id = program.attach_to_link(XdpLink::try_from(link).ok()?).ok()?;
    FdLink::try_from(program.take_link(id).ok()?).ok()
}

fn put(program: &mut Xdp, interface: u32) -> Result<FdLink, GuardError> {
    let id = program.attach_to_if_index(interface, XdpMode::Driver);
    let id = id.map_err(|error| refused(&error))?;
    let link = program.take_link(id).map_err(|error| failed(&error))?;
    // One without a descriptor would end with the agent; it is let go here.
    FdLink::try_from(link).map_err(|error| failed(&error))
}
