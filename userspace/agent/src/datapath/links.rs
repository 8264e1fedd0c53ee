//! The links by which programs hold interfaces: pinned, so that they outlive the agent, and kept open, so that they
//! outlive their pins. Whoever removes a pin, or the file system it is on, takes no program off.

use super::{
    attach::{AttachError, Program},
    attachment::{self, Attachment, Hook, is_gone},
    clsact, kernel,
    load::Loaded,
    pins,
};
use aya::{pin::PinError, programs::links::FdLink};
use std::fmt;

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

    /// True while our program, or what an earlier agent has pinned, runs on the interface. Its pin may be missing: see
    /// [`Self::pin_again`].
    pub fn holds(&self, program: Program, interface: u32) -> Result<bool, AttachError> {
        if let Some(there) = self.held.get(&(interface, program)) {
            return there.runs_on(program, interface);
        }
        self.is_on(program, interface)
    }

    /// True while our link of `program` is on the interface, whatever program somebody has put under it.
    pub(super) fn is_on(&self, program: Program, interface: u32) -> Result<bool, AttachError> {
        if let Some(there) = self.held.get(&(interface, program)) {
            return there.is_on(program, interface);
        }
        match self.pinned(program, interface)? {
            Some(there) => there.is_on(program, interface),
            None => Ok(false),
        }
    }

    pub(super) fn pinned(&self, program: Program, interface: u32) -> Result<Option<Attachment>, AttachError> {
        let pin = self.pins().link(interface, program);
        Attachment::open(&pin).map_err(|message| AttachError::Pin {
            program,
            interface,
            message,
        })
    }

    /// Other people's programs that run before one of ours that judges.
    pub fn ahead(&self) -> Result<Vec<Ahead>, AttachError> {
        let mut ahead = Vec::new();
        for ((interface, ours), there) in &self.held {
            if ours.stops() {
                continue;
            }
            // Where ours does not run at all, nobody runs before it.
            let before = there.ahead(*ours, *interface)?.unwrap_or_default();
            ahead.extend(before.into_iter().map(|program| Ahead {
                program,
                interface: *interface,
                ours: *ours,
            }));
        }
        Ok(ahead)
    }

    /// Programs and filters on the way out of an interface where none is ours, by the programs' numbers. A filter of
    /// another kind has no number: 0.
    pub fn outward(&self, interface: u32) -> Result<Vec<u32>, AttachError> {
        // Any of our programs that stands on that side names it.
        const SIDE: Program = Program::ToTap;
        let chain = match kernel::tcx_chain(interface, SIDE.side().1) {
            Ok(chain) => chain,
            // No hook, or a kernel that has none.
            Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EINVAL) => Vec::new(),
            Err(source) => return Err(AttachError::Ask { source }),
        };
        let filters = match clsact::filters(interface, SIDE) {
            Ok(filters) => filters,
            // A kernel that was built without filters.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Vec::new(),
            Err(source) => return Err(AttachError::Ask { source }),
        };
        let hooked = chain.into_iter().map(|hooked| hooked.program);
        Ok(hooked
            .chain(filters.into_iter().map(|filter| filter.program))
            .collect())
    }

    /// Pins the maps whose pins somebody has removed, or put something else in the place of; returns their names.
    pub fn pin_maps_again(&self) -> Result<Vec<String>, PinMapError> {
        let mut mended = Vec::new();
        for (name, number) in &self.pinned {
            let pin = self.pins().map(name);
            let failed = |why: &dyn fmt::Display| PinMapError {
                map: name.clone(),
                why: why.to_string(),
            };
            if pins::names_map(&pin, *number).map_err(|error| failed(&error))? {
                continue;
            }
            self.pins().are_kept().map_err(|error| failed(&error))?;
            let map = self.map(name).ok_or_else(|| failed(&"it is not loaded"))?;
            let next = self.pins().next_map(name);
            attachment::pin_over(&pin, &next, |path| map.pin(path)).map_err(|error| failed(&error))?;
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
                (Some(link), Some(pinned)) if link.is(&pinned) => {
                    self.held.insert((index, program), link);
                }
                (Some(link), _) if link.is_on(program, index)? => {
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
    /// pin cannot be made is kept all the same. Of a filter it is the program that is pinned.
    pub(super) fn keep(
        &mut self,
        program: Program,
        interface: u32,
        there: Attachment,
    ) -> Result<(), AttachError> {
        let pin = self.pins().link(interface, program);
        let broken = |message: String| AttachError::Pin {
            program,
            interface,
            message,
        };
        if matches!(Attachment::open(&pin), Ok(Some(pinned)) if there.is(&pinned)) {
            self.held.insert((interface, program), there);
            return Ok(());
        }
        // Asked first, because a pin that fails takes the link with it.
        let fit = self.pins().are_kept();
        let (link, number) = match (there, fit) {
            (there, Err(error)) => {
                self.held.insert((interface, program), there);
                return Err(broken(error.to_string()));
            }
            (
                Attachment::Link {
                    link,
                    program: number,
                },
                Ok(()),
            ) => (link, number),
            (there @ Attachment::Filter(_), Ok(())) => {
                self.held.insert((interface, program), there);
                return self.pin_program(program, interface).map_err(broken);
            }
        };
        match attachment::remove(&pin) {
            Ok(()) => {
                let pinned = link
                    .pin(&pin)
                    .map_err(|error: PinError| broken(error.to_string()))?;
                let there = Attachment::Link {
                    link: FdLink::from(pinned),
                    program: number,
                };
                self.held.insert((interface, program), there);
                Ok(())
            }
            Err(error) => {
                let there = Attachment::Link {
                    link,
                    program: number,
                };
                self.held.insert((interface, program), there);
                Err(broken(error.to_string()))
            }
        }
    }

    /// Pins our program as the one that a filter has; what was pinned there before gives way in one step.
    fn pin_program(&mut self, program: Program, interface: u32) -> Result<(), String> {
        let (pin, next) = (
            self.pins().link(interface, program),
            self.pins().next_link(interface, program),
        );
        let Some(classifier) = self.program(program) else {
            return Err("the program is not loaded".to_owned());
        };
        attachment::pin_over(&pin, &next, |path| classifier.pin(path))
    }

    /// Lets go of a link or a filter: its pin and what we hold of it.
    pub(super) fn unpin(&mut self, interface: u32, program: Program) -> Result<(), AttachError> {
        self.held.remove(&(interface, program));
        let broken = |message: String| AttachError::Pin {
            program,
            interface,
            message,
        };
        if self.hook() == Hook::Clsact {
            // It does not end with its pin, which may be gone already.
            clsact::remove(interface, program).map_err(|error| broken(error.to_string()))?;
        }
        let pin = self.pins().link(interface, program);
        attachment::release(&pin, program, interface).map_err(broken)
    }
}

fn from_tap((index, program): (u32, Program)) -> Option<u32> {
    (program == Program::FromTap).then_some(index)
}
