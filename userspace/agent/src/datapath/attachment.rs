//! What holds a program to an interface, and how this kernel does it: a TCX link where there is TCX (Linux 6.6), else
//! a filter (see [`clsact`](super::clsact)). Either way a pin names it.
//!
//! A pinned link ends with its pin. A filter needs no pin to stay: the pin is of its program, and says which one an
//! agent has put there, so that it is known again.

use super::{
    attach::{AttachError, Program},
    clsact, kernel,
};
use aya::{
    pin::PinError,
    programs::{
        ProgramInfo,
        links::{FdLink, PinnedLink},
    },
};
use std::{fs, io, path::Path};

/// How this kernel lets programs onto interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Hook {
    /// By links, replaced in place.
    Tcx,
    /// By filters of a `clsact` queueing discipline, replaced in place.
    Clsact,
}

impl Hook {
    /// The better one that this kernel has, found by asking it.
    pub fn of_this_kernel() -> io::Result<Self> {
        /// Every network namespace has its loopback here.
        const LOOPBACK: u32 = 1;
        match kernel::tcx_chain(LOOPBACK, Program::FromTap.side().1) {
            // Only a kernel that knows the question finds out that there is nothing.
            Ok(_) => Ok(Self::Tcx),
            Err(error) if is_gone(&error) => Ok(Self::Tcx),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Self::Clsact),
            Err(error) => Err(error),
        }
    }

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "TCX",
            Self::Clsact => "clsact",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) enum Attachment {
    Link(FdLink),
    /// A filter with the program of this number.
    Filter(u32),
}

impl Attachment {
    /// What the pin names, or none if there is no such pin.
    pub(super) fn open(pin: &Path) -> Result<Option<Self>, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        match kernel::is_pinned_program(pin).map_err(|error| said(&error))? {
            None => Ok(None),
            Some(true) => {
                let info = ProgramInfo::from_pin(pin).map_err(|error| said(&error))?;
                Ok(Some(Self::Filter(info.id())))
            }
            Some(false) => {
                let link = PinnedLink::from_pin(pin).map_err(|error| said(&error))?;
                Ok(Some(Self::Link(FdLink::from(link))))
            }
        }
    }

    /// Whether the kernel names it among those that run on the interface now.
    pub(super) fn runs_on(&self, program: Program, interface: u32) -> Result<bool, AttachError> {
        Ok(self.ahead(program, interface)?.is_some())
    }

    /// Numbers of the programs that run before it on its hook; none if it does not run there. A filter of another
    /// kind has no number: 0.
    pub(super) fn ahead(&self, program: Program, interface: u32) -> Result<Option<Vec<u32>>, AttachError> {
        match self {
            Self::Link(link) => {
                let info = link.info().map_err(|error| AttachError::Pin {
                    program,
                    interface,
                    message: error.to_string(),
                })?;
                let chain = match kernel::tcx_chain(interface, program.side().1) {
                    Ok(chain) => chain,
                    Err(error) if is_gone(&error) => return Ok(None),
                    Err(source) => return Err(AttachError::Ask { source }),
                };
                let at = chain.iter().position(|hooked| hooked.link == info.id());
                Ok(at.map(|at| chain.iter().take(at).map(|hooked| hooked.program).collect()))
            }
            Self::Filter(number) => {
                let filters = clsact::filters(interface, program);
                let filters = filters.map_err(|source| AttachError::Ask { source })?;
                let at = filters
                    .iter()
                    .position(|filter| filter.is_ours(program) && filter.program == *number);
                Ok(at.map(|at| filters.iter().take(at).map(|filter| filter.program).collect()))
            }
        }
    }

    /// Whether both are the same link, or filters with the same program.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Link(one), Self::Link(other)) => {
                matches!((one.info(), other.info()), (Ok(one), Ok(other)) if one.id() == other.id())
            }
            (Self::Filter(one), Self::Filter(other)) => one == other,
            (Self::Link(_), Self::Filter(_)) | (Self::Filter(_), Self::Link(_)) => false,
        }
    }
}

/// The interface is, or nothing ever was on it.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
}

/// Takes a program off an interface, and its pin away. What is not there is off.
pub(super) fn release(pin: &Path, program: Program, interface: u32) -> Result<(), String> {
    match kernel::is_pinned_program(pin) {
        Ok(Some(true)) => clsact::remove(interface, program).map_err(|error| error.to_string())?,
        Ok(Some(false) | None) => {}
        // No object of the kernel's: only a file that has such a name.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {}
        Err(error) => return Err(error.to_string()),
    }
    remove(pin).map_err(|error| error.to_string())
}

/// A pin that is not there is as good as removed.
pub(super) fn remove(pin: &Path) -> io::Result<()> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Pins what a pin of the same name may already stand for, with no moment in which there is none.
pub(super) fn pin_over(
    pin: &Path,
    next: &Path,
    mut write: impl FnMut(&Path) -> Result<(), PinError>,
) -> Result<(), String> {
    // Left by an agent that was killed here.
    let _none = fs::remove_file(next);
    write(next).map_err(|error| error.to_string())?;
    fs::rename(next, pin).map_err(|error| error.to_string())
}
