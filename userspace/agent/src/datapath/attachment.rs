//! What holds a program to an interface, and how this kernel does it: a TCX link where there is TCX (Linux 6.6), else
//! a filter (see [`clsact`](super::clsact)). Either way a pin names it.
//!
//! A pinned link ends with its pin. A filter needs no pin to stay: the pin is of its program, and says which one an
//! agent has put there, so that it is known again.

use super::{
    attach::{AttachError, Program},
    clsact,
    kernel::{self, Hooked},
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
    Link {
        link: FdLink,
        /// Number of the program that we have put under it; none if that was an earlier agent's doing.
        program: Option<u32>,
    },
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
                Ok(Some(Self::Link {
                    link: FdLink::from(link),
                    program: None,
                }))
            }
        }
    }

    /// Whether the kernel names it among those that run on the interface now, and with the program that we have put
    /// there: whoever may administer the network can swap the program under a link.
    pub(super) fn runs_on(&self, program: Program, interface: u32) -> Result<bool, AttachError> {
        Ok(self.place(program, interface)?.is_some_and(|place| place.is_ours))
    }

    /// Whether it is there, with whatever program.
    pub(super) fn is_on(&self, program: Program, interface: u32) -> Result<bool, AttachError> {
        Ok(self.place(program, interface)?.is_some())
    }

    /// Numbers of the programs that run before it on its hook; none if it does not run there. A filter of another
    /// kind has no number: 0.
    pub(super) fn ahead(&self, program: Program, interface: u32) -> Result<Option<Vec<u32>>, AttachError> {
        Ok(self.place(program, interface)?.map(|place| place.ahead))
    }

    fn place(&self, program: Program, interface: u32) -> Result<Option<Place>, AttachError> {
        match self {
            Self::Link { link, program: put } => {
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
                Ok(in_chain(&chain, info.id(), *put))
            }
            Self::Filter(number) => {
                let filters = clsact::filters(interface, program);
                let filters = filters.map_err(|source| AttachError::Ask { source })?;
                let at = filters
                    .iter()
                    .position(|filter| filter.is_ours(program) && filter.program == *number);
                Ok(at.map(|at| Place {
                    ahead: filters.iter().take(at).map(|filter| filter.program).collect(),
                    is_ours: true,
                }))
            }
        }
    }

    /// Whether both are the same link, or filters with the same program.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Link { link: one, .. }, Self::Link { link: other, .. }) => is_same(one, other),
            (Self::Filter(one), Self::Filter(other)) => one == other,
            (Self::Link { .. }, Self::Filter(_)) | (Self::Filter(_), Self::Link { .. }) => false,
        }
    }
}

/// Where a link or a filter stands on its hook.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Numbers of the programs before it.
    ahead: Vec<u32>,
    /// It has the program that we have put there.
    is_ours: bool,
}

/// Where a link stands, with the program of this number, if one is given.
fn in_chain(chain: &[Hooked], link: u32, program: Option<u32>) -> Option<Place> {
    let at = chain.iter().position(|hooked| hooked.link == link)?;
    let (ahead, rest) = chain.split_at(at);
    Some(Place {
        ahead: ahead.iter().map(|hooked| hooked.program).collect(),
        is_ours: rest
            .first()
            .is_some_and(|hooked| program.is_none_or(|program| program == hooked.program)),
    })
}

/// Whether both are one link of the kernel's.
pub(super) fn is_same(one: &FdLink, other: &FdLink) -> bool {
    matches!((one.info(), other.info()), (Ok(one), Ok(other)) if one.id() == other.id())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_ours_only_with_the_program_that_was_put_under_it() {
        let [other, ours] = [(7, 0), (9, 3)].map(|(program, link)| Hooked { program, link });
        let place = |program| in_chain(&[other, ours], 3, program);
        let found = |is_ours| {
            let ahead = vec![7];
            Some(Place { ahead, is_ours })
        };
        assert_eq!(place(Some(9)), found(true));
        assert_eq!(place(Some(8)), found(false), "a swapped program goes unseen");
        assert_eq!(place(None), found(true), "an earlier agent's program is missed");
        assert_eq!(in_chain(&[other, ours], 4, Some(9)), None);
    }
}
