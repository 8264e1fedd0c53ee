//! Holds the programs to interfaces by pinned links, and replaces them in place; on kernels without such links by
//! filters and pinned programs.
//!
//! A link belongs to one interface for its whole life. When the interface is deleted its pin stays as an
//! empty shell, and a new interface may get the same name or even the same index: so a pinned link counts
//! only if the kernel names it among those that run on the interface now.
use super::{
    attachment::{Attachment, Hook},
    clsact, kernel,
    load::Loaded,
};
use aya::{
    programs::{
        LinkOrder, ProgramError, TcAttachType,
        links::FdLink,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
    sys::SyscallError,
};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use std::{io, os::fd::AsFd};

/// `BPF_TCX_INGRESS` of the kernel's attach types.
const TCX_INGRESS: u32 = 46;
/// `BPF_TCX_EGRESS` of the kernel's attach types.
const TCX_EGRESS: u32 = 47;
/// How often an attach is tried while the kernel still takes down a link of the same program. Each try waits
/// for running programs first, which takes a few milliseconds.
const ATTACH_TRIES: usize = 50;

/// The programs, each with its one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// What a guest sends: the tap's ingress.
    FromTap,
    /// What arrives from other hosts: the uplink's ingress.
    FromUplink,
    /// What is about to be queued to a guest: the tap's egress.
    ToTap,
    /// What arrived big from other hosts: the VXLAN device's ingress.
    FromVxlan,
    /// Behind `from_tap` or `from_vxlan`: drops what has come past it.
    StopIn,
    /// Behind `to_tap`, likewise.
    StopOut,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 6] = [
        Self::FromTap,
        Self::FromUplink,
        Self::ToTap,
        Self::FromVxlan,
        Self::StopIn,
        Self::StopOut,
    ];
    /// Those of a tap, in the order in which they are attached: what stops comes first, and judges last.
    pub const OF_TAP: [Self; 4] = [Self::StopIn, Self::StopOut, Self::FromTap, Self::ToTap];

    /// Its name in the object and in the pin directory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FromTap => "from_tap",
            Self::FromUplink => "from_uplink",
            Self::ToTap => "to_tap",
            Self::FromVxlan => "from_vxlan",
            Self::StopIn => "stop_in",
            Self::StopOut => "stop_out",
        }
    }

    /// The program of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    /// Whether it stands where packets leave by the interface.
    pub(super) const fn is_outward(self) -> bool {
        matches!(self, Self::ToTap | Self::StopOut)
    }

    /// Whether it stands behind all others, and stops what comes there.
    pub(super) const fn stops(self) -> bool {
        matches!(self, Self::StopIn | Self::StopOut)
    }

    pub(super) const fn side(self) -> (TcAttachType, u32) {
        match self {
            Self::FromTap | Self::FromUplink | Self::FromVxlan | Self::StopIn => {
                (TcAttachType::Ingress, TCX_INGRESS)
            }
            Self::ToTap | Self::StopOut => (TcAttachType::Egress, TCX_EGRESS),
        }
    }

    /// One that judges runs before all others, which could pass frames behind its back; one that stops behind them.
    fn order(self) -> LinkOrder {
        match self {
            Self::FromTap | Self::FromUplink | Self::ToTap | Self::FromVxlan => LinkOrder::first(),
            Self::StopIn | Self::StopOut => LinkOrder::last(),
        }
    }
}

/// A program could not be put on, or taken off, an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no such interface in the agent's network namespace.
    #[error("there is no interface {interface} here")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The object holds no such program.
    #[error("the program {} is not loaded", program.name())]
    NotLoaded {
        /// Which.
        program: Program,
    },
    /// The kernel refused to attach or replace.
    #[error("cannot attach {} to interface {interface}: {source}; the kernel must have TCX (Linux 6.6), or clsact and cls_bpf", program.name())]
    Attach {
        /// Which program.
        program: Program,
        /// Name of the interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The name led to another interface while we attached.
    #[error("interface {interface} was replaced while {} was being attached; try again", program.name())]
    Replaced {
        /// Which program.
        program: Program,
        /// Name of the interface.
        interface: String,
    },
    /// A pinned link could not be opened, read or written.
    #[error("cannot use the pinned link of {} on interface {interface}: {message}", program.name())]
    Pin {
        /// Which program.
        program: Program,
        /// Index of the interface.
        interface: u32,
        /// What went wrong.
        message: String,
    },
    /// The tap is still up: without programs nothing would filter it.
    #[error("tap {interface} is up; take it down or delete it before its programs are taken off")]
    TapIsUp {
        /// Index of the interface.
        interface: u32,
    },
    /// The kernel would not say what is there.
    #[error("cannot ask the kernel about interfaces: {source}")]
    Ask {
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl Loaded {
    /// Puts `from_uplink` on the uplink, or replaces the one that is there. A link that an earlier agent
    /// pinned for another uplink is let go. Returns the interface's index.
    pub fn attach_uplink(&mut self, interface: &str) -> Result<u32, AttachError> {
        self.attach_alone(Program::FromUplink, interface)
    }

    /// Puts `from_vxlan` on the VXLAN device, or replaces the one that is there. To be called while the device
    /// is still down, unless an earlier agent's program holds it. Returns the interface's index.
    pub fn attach_vxlan(&mut self, interface: &str) -> Result<u32, AttachError> {
        let index = index_of(interface)?;
        self.attach(Program::StopIn, interface, index)?;
        self.attach_alone(Program::FromVxlan, interface)
    }

    /// For a program that runs on one interface of the host: its links to others are let go.
    fn attach_alone(&mut self, program: Program, interface: &str) -> Result<u32, AttachError> {
        let index = index_of(interface)?;
        self.attach(program, interface, index)?;
        for (other, found) in self.links()? {
            if found == program && other != index {
                self.unpin(other, program)?;
            }
        }
        Ok(index)
    }

    /// Puts the programs on a tap, or replaces those that are there. To be called while the tap is still
    /// down: when it returns, the tap may be brought up. Returns the interface's index.
    pub fn attach_tap(&mut self, interface: &str) -> Result<u32, AttachError> {
        let index = index_of(interface)?;
        for program in Program::OF_TAP {
            self.attach(program, interface, index)?;
        }
        Ok(index)
    }

    /// Takes the programs off a tap that is down or gone; refused while it is up.
    pub fn detach_tap(&mut self, interface: u32) -> Result<(), AttachError> {
        if is_up(interface)? {
            return Err(AttachError::TapIsUp { interface });
        }
        // The ones that stop come off last.
        for program in Program::OF_TAP.into_iter().rev() {
            self.unpin(interface, program)?;
        }
        Ok(())
    }

    /// Lets go of every link whose interface is gone, and returns the indexes of those interfaces: what the
    /// maps say about them is void.
    pub fn remove_stale_links(&mut self) -> Result<Vec<u32>, AttachError> {
        let mut gone = Vec::new();
        for (index, program) in self.links()? {
            if !self.is_on(program, index)? {
                self.unpin(index, program)?;
                gone.push(index);
            }
        }
        gone.dedup();
        Ok(gone)
    }

    fn attach(&mut self, program: Program, interface: &str, index: u32) -> Result<(), AttachError> {
        if self.hook() == Hook::Clsact {
            return self.put(program, interface, index);
        }
        // What is held counts more than what is pinned: the pin may be anybody's.
        let there = match self.held.remove(&(index, program)) {
            Some(there) if there.is_on(program, index)? => Some(there),
            Some(_) | None => self.pinned(program, index)?,
        };
        let there = match there {
            Some(there) if there.is_on(program, index)? => self.replace(program, interface, there)?,
            Some(_) | None => {
                self.unpin(index, program)?;
                let there = self.attach_anew(program, interface)?;
                if !there.runs_on(program, index)? {
                    return Err(AttachError::Replaced {
                        program,
                        interface: interface.to_owned(),
                    });
                }
                there
            }
        };
        self.keep(program, index, there)
    }

    /// The same by a filter. The pin is of the program, and moves on when the filter has it.
    fn put(&mut self, program: Program, interface: &str, index: u32) -> Result<(), AttachError> {
        let refused = |source| failed(program, interface, source);
        let classifier = self.program(program).ok_or(AttachError::NotLoaded { program })?;
        let number = classifier.info().map_err(refused)?.id();
        let code = classifier.fd().map_err(refused)?;
        clsact::put(index, program, code.as_fd()).map_err(|error| refused(ProgramError::IOError(error)))?;
        self.keep(program, index, Attachment::Filter(number))
    }

    /// Swaps the program under a link. The pin names the same link before and after, so nothing else moves.
    fn replace(
        &mut self,
        program: Program,
        interface: &str,
        there: Attachment,
    ) -> Result<Attachment, AttachError> {
        let refused = |source| failed(program, interface, source);
        let Attachment::Link { link, .. } = there else {
            // Of an agent that was told to use filters: both judge for a moment, and neither is missed.
            let there = self.attach_anew(program, interface)?;
            let done = clsact::remove(index_of(interface)?, program);
            done.map_err(|error| refused(ProgramError::IOError(error)))?;
            return Ok(there);
        };
        let link = SchedClassifierLink::try_from(link)
            .map_err(|error| refused(ProgramError::IOError(io::Error::other(error))))?;
        let classifier = self.program(program).ok_or(AttachError::NotLoaded { program })?;
        let number = classifier.info().map_err(refused)?.id();
        let id = classifier.attach_to_link(link).map_err(refused)?;
        let link = classifier.take_link(id).map_err(refused)?;
        let link = FdLink::try_from(link);
        let link = link.map_err(|error| refused(ProgramError::IOError(io::Error::other(error))))?;
        Ok(Attachment::Link {
            link,
            program: Some(number),
        })
    }

    /// Attaches in the program's order on its hook.
    fn attach_anew(&mut self, program: Program, interface: &str) -> Result<Attachment, AttachError> {
        let refused = |source| failed(program, interface, source);
        let classifier = self.program(program).ok_or(AttachError::NotLoaded { program })?;
        let number = classifier.info().map_err(refused)?.id();
        let mut tries = 1;
        let id = loop {
            let order = TcAttachOptions::TcxOrder(program.order());
            match classifier.attach_with_options(interface, program.side().0, order) {
                Ok(id) => break id,
                // A hook takes no program twice, and a link whose pin is gone lives on for a moment.
                Err(error) if is_there_already(&error) && tries < ATTACH_TRIES => {
                    tries += 1;
                    kernel::quiesce().map_err(|source| AttachError::Ask { source })?;
                }
                Err(source) => return Err(refused(source)),
            }
        };
        let link = FdLink::try_from(classifier.take_link(id).map_err(refused)?);
        let link = link.map_err(|error| refused(ProgramError::IOError(io::Error::other(error))))?;
        Ok(Attachment::Link {
            link,
            program: Some(number),
        })
    }
}

fn is_there_already(error: &ProgramError) -> bool {
    if let ProgramError::SyscallError(SyscallError { io_error, .. }) = error {
        return io_error.kind() == io::ErrorKind::AlreadyExists;
    }
    false
}

fn failed(program: Program, interface: &str, source: ProgramError) -> AttachError {
    AttachError::Attach {
        program,
        interface: interface.to_owned(),
        source: Box::new(source),
    }
}

fn index_of(interface: &str) -> Result<u32, AttachError> {
    if_nametoindex(interface).map_err(|_| AttachError::NoInterface {
        interface: interface.to_owned(),
    })
}

fn is_up(interface: u32) -> Result<bool, AttachError> {
    let addresses = nix::ifaddrs::getifaddrs().map_err(|error| AttachError::Ask {
        source: io::Error::from(error),
    })?;
    for address in addresses {
        if address.flags.contains(InterfaceFlags::IFF_UP)
            && index_of(&address.interface_name).ok() == Some(interface)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
