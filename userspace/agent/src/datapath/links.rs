//! The links by which programs hold interfaces: pinned, so that they outlive the agent, and kept open, so that they
//! outlive their pins. Whoever removes a pin, or the file system it is on, takes no program off.

use super::{
    attach::{AttachError, Program},
    kernel,
    load::Loaded,
};
use aya::{
    pin::PinError,
    programs::links::{FdLink, LinkError, PinnedLink},
    sys::SyscallError,
};
use std::{fmt, fs, io, path::Path};

/// Somebody else's program before one of ours, on the same hook of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Its number in the kernel.
    pub program: u32,
    pub interface: u32,
    pub ours: Program,
}

/// A map has no pin and gets none: it ends with this agent.
#[derive(Debug, thiserror::Error)]
#[error("the map {map} has lost its pin, and would end with this agent: {why}")]
pub struct PinMapError {
    map: String,
    why: String,
}

impl Loaded {
    /// Taps that every program of a tap holds right now, by index, as the kernel says.
    pub fn attached_taps(&self) -> Result<Vec<u32>, AttachError> {
        let mut taps = Vec::new();
        for index in self.links()?.into_iter().filter_map(from_tap) {
            if self.lacking(index)?.is_empty() {
                taps.push(index);
            }
        }
        Ok(taps)
    }

    /// The programs that a tap should have and that do not run on it now.
    fn lacking(&self, tap: u32) -> Result<Vec<Program>, AttachError> {
        let mut lacking = Vec::new();
        for program in Program::OF_TAP {
            if !self.holds(program, tap)? {
                lacking.push(program);
            }
        }
        Ok(lacking)
    }

    /// True while our link of `program` runs on the interface. Its pin may be missing: see [`Self::pin_again`].
    pub fn holds(&self, program: Program, interface: u32) -> Result<bool, AttachError> {
        if let Some(link) = self.held.get(&(interface, program)) {
            return runs_on(link, program, interface);
        }
        match self.pinned(program, interface)? {
            Some(link) => runs_on(&link, program, interface),
            None => Ok(false),
        }
    }

    pub(super) fn pinned(&self, program: Program, interface: u32) -> Result<Option<FdLink>, AttachError> {
        let pin = self.pins().link(interface, program);
        open(&pin).map_err(|message| AttachError::Pin {
            program,
            interface,
            message,
        })
    }

    /// Other people's programs that run before one of ours that judges.
    pub fn ahead(&self) -> Result<Vec<Ahead>, AttachError> {
        let mut ahead = Vec::new();
        for ((interface, ours), link) in &self.held {
            if matches!(ours, Program::StopIn | Program::StopOut) {
                continue;
            }
            let Ok(info) = link.info() else { continue };
            let chain = match kernel::tcx_chain(*interface, ours.side().1) {
                Ok(chain) => chain,
                Err(error) if is_gone(&error) => continue,
                Err(source) => return Err(AttachError::Ask { source }),
            };
            // Where ours does not run at all, nobody runs before it.
            let Some(at) = chain.iter().position(|hooked| hooked.link == info.id()) else {
                continue;
            };
            ahead.extend(chain.iter().take(at).map(|hooked| Ahead {
                program: hooked.program,
                interface: *interface,
                ours: *ours,
            }));
        }
        Ok(ahead)
    }

    /// Pins the maps whose pins somebody has removed; returns their names.
    pub fn pin_maps_again(&self) -> Result<Vec<String>, PinMapError> {
        let mut mended = Vec::new();
        for name in &self.pinned {
            let pin = self.pins().map(name);
            if pin.exists() {
                continue;
            }
            let failed = |why: &dyn fmt::Display| PinMapError {
                map: name.clone(),
                why: why.to_string(),
            };
            self.pins().are_kept().map_err(|error| failed(&error))?;
            let map = self.map(name).ok_or_else(|| failed(&"it is not loaded"))?;
            map.pin(&pin).map_err(|error| failed(&error))?;
            mended.push(name.clone());
        }
        Ok(mended)
    }

    /// Keeps hold of what an earlier agent has pinned, and pins anew what has lost its pin: without one it would
    /// end with this agent. Returns what was pinned anew.
    pub fn pin_again(&mut self) -> Result<Vec<(u32, Program)>, AttachError> {
        let mut mended = Vec::new();
        for (index, program) in self.links()? {
            let pinned = self.pinned(program, index)?;
            match (self.held.remove(&(index, program)), pinned) {
                (None, Some(link)) => {
                    self.held.insert((index, program), link);
                }
                (Some(link), Some(pinned)) if is_same(&link, &pinned) => {
                    self.held.insert((index, program), link);
                }
                (Some(link), _) if runs_on(&link, program, index)? => {
                    self.keep(program, index, link)?;
                    mended.push((index, program));
                }
                // The interface is gone, or the program was taken off it: no link is left.
                (Some(_) | None, _) => {}
            }
        }
        Ok(mended)
    }

    /// Everything that is pinned, or held although somebody has removed its pin.
    pub(super) fn links(&self) -> Result<Vec<(u32, Program)>, AttachError> {
        let mut links = self
            .pins()
            .links()
            .map_err(|source| AttachError::Ask { source })?;
        links.extend(self.held.keys());
        links.sort_unstable();
        links.dedup();
        Ok(links)
    }

    /// Pins a link, if it is not, and keeps it open: if somebody takes the pin away, the program stays. A link whose
    /// pin cannot be made is kept all the same.
    pub(super) fn keep(&mut self, program: Program, interface: u32, link: FdLink) -> Result<(), AttachError> {
        let pin = self.pins().link(interface, program);
        let broken = |message: String| AttachError::Pin {
            program,
            interface,
            message,
        };
        let there = open(&pin).map_err(broken);
        let known = matches!(&there, Ok(Some(there)) if is_same(&link, there));
        let refused = if known {
            None
        } else {
            // Asked first, because a pin that fails takes the link with it.
            let fit = self.pins().are_kept().and_then(|()| remove(&pin));
            fit.err().map(|error| error.to_string())
        };
        let link = match (known, &refused) {
            (false, None) => link
                .pin(&pin)
                .map(FdLink::from)
                .map_err(|error: PinError| broken(error.to_string()))?,
            _ => link,
        };
        self.held.insert((interface, program), link);
        refused.map_or(Ok(()), |message| Err(broken(message)))
    }

    /// Lets go of a link: its pin and what we hold of it.
    pub(super) fn unpin(&mut self, interface: u32, program: Program) -> Result<(), AttachError> {
        self.held.remove(&(interface, program));
        let done = remove(&self.pins().link(interface, program));
        done.map_err(|error| AttachError::Pin {
            program,
            interface,
            message: error.to_string(),
        })
    }
}

fn from_tap((index, program): (u32, Program)) -> Option<u32> {
    (program == Program::FromTap).then_some(index)
}

/// A pin that is not there is as good as removed.
fn remove(pin: &Path) -> io::Result<()> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The interface is.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
}

fn is_same(one: &FdLink, other: &FdLink) -> bool {
    matches!((one.info(), other.info()), (Ok(one), Ok(other)) if one.id() == other.id())
}

/// The link pinned at `pin`, or none if nothing is.
pub(super) fn open(pin: &Path) -> Result<Option<FdLink>, String> {
    match PinnedLink::from_pin(pin) {
        Ok(link) => Ok(Some(FdLink::from(link))),
        Err(LinkError::SyscallError(SyscallError { io_error, .. }))
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn runs_on(link: &FdLink, program: Program, interface: u32) -> Result<bool, AttachError> {
    let info = link.info().map_err(|error| AttachError::Pin {
        program,
        interface,
        message: error.to_string(),
    })?;
    match kernel::tcx_chain(interface, program.side().1) {
        Ok(chain) => Ok(chain.iter().any(|hooked| hooked.link == info.id())),
        Err(error) if is_gone(&error) => Ok(false),
        Err(source) => Err(AttachError::Ask { source }),
    }
}
