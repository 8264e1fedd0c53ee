//! Loads the programs, with their settings fixed, over maps that outlive them.
use super::{
    attach::Program,
    attachment::{Attachment, Hook},
    open::OpenError,
    pins::Pins,
    pod::Pod,
    sk_buff::{LayoutError, running_features, running_layout},
};
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapError, MapInfo},
    programs::{ProgramError, SchedClassifier, links::FdLink},
};
use pairgate_abi::{SETTINGS, Settings, map};
use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// Lines of the verifier's log that an error shows: the last instructions and what was wrong with them.
const VERIFIER_TAIL_LINES: usize = 30;

/// What the programs of one host are told when they are loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// The agent's pin directory, on a BPF file system. `v<ABI version>` is made in it.
    pub pin_dir: &'a Path,
    /// Interface index of the uplink.
    pub uplink: u32,
    /// Interface index of the VXLAN device, which takes what arrives big.
    pub vxlan: u32,
    /// The host's underlay address.
    pub host: IpAddr,
    /// UDP port on which this host receives.
    pub port: u16,
}

/// The programs in the kernel and the maps they share with the agent. Dropping it ends nothing that
/// [`attach_uplink`](Self::attach_uplink) or [`attach_tap`](Self::attach_tap) has attached.
#[derive(Debug)]
pub struct Loaded {
    ebpf: Ebpf,
    pins: Pins,
    mark: u32,
    hook: Hook,
    /// Maps that are pinned by their names, each with its number in the kernel.
    pub(super) pinned: Vec<(String, u32)>,
    /// Links of this agent, by interface: they stay on if somebody removes their pins.
    pub(super) held: HashMap<(u32, Program), Attachment>,
    /// The guard in the uplink's driver, and the uplink.
    pub(super) guard_link: Option<(u32, FdLink)>,
}

/// Loading failed; nothing was attached or changed in place.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The agent was built in a checkout without the object.
    #[error(
        "this agent was built without its eBPF programs; run `cargo xtask build-ebpf` and build it again"
    )]
    NoObject,
    /// Where the kernel keeps the checksum state is not known.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The kernel would not say how programs can be attached.
    #[error(
        "cannot ask the kernel how it lets programs onto interfaces: {source}; CONFIG_BPF_SYSCALL and root are needed"
    )]
    Hook {
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The pin directory could not be made.
    #[error(
        "cannot make the pin directory {path}: {source}; it must be on a BPF file system (`mount -t bpf bpf /sys/fs/bpf`)"
    )]
    PinDirectory {
        /// What was to be made.
        path: PathBuf,
        /// Why it could not.
        #[source]
        source: io::Error,
    },
    /// A map could not be opened or has another layout.
    #[error(transparent)]
    Map(#[from] OpenError),
    /// The mark could not be read or written.
    #[error("cannot keep the packet mark in its map: {source}")]
    Mark {
        /// What the kernel said.
        #[source]
        source: Box<MapError>,
    },
    /// The object was refused before any program was tried.
    #[error("the kernel or the loader refused the eBPF object: {source}")]
    Object {
        /// Why.
        #[source]
        source: Box<EbpfError>,
    },
    /// The object does not hold a program that the agent needs.
    #[error(
        "the eBPF object holds no program named {program}; it was built from other sources than this agent"
    )]
    NoProgram {
        /// The missing one.
        program: &'static str,
    },
    /// The verifier refused a program.
    #[error("the kernel refused the program {program}: {message}")]
    Program {
        /// Which.
        program: &'static str,
        /// The kernel's error and the end of the verifier's log.
        message: String,
    },
}

#[cfg(datapath_object)]
fn object() -> Option<&'static [u8]> {
    Some(aya::include_bytes_aligned!(env!("PAIRGATE_DATAPATH_OBJECT")))
}

#[cfg(not(datapath_object))]
fn object() -> Option<&'static [u8]> {
    None
}

impl Loaded {
    /// Loads the programs over the maps pinned in the pin directory, which are made if they are not there.
    ///
    /// Until a program is attached nothing changes for any packet.
    pub fn load(options: &LoadOptions<'_>) -> Result<Self, LoadError> {
        let hook = Hook::of_this_kernel().map_err(|source| LoadError::Hook { source })?;
        Self::load_for(options, hook)
    }

    /// The same, to be attached in this way whatever the kernel has.
    pub fn load_for(options: &LoadOptions<'_>, hook: Hook) -> Result<Self, LoadError> {
        let object = object().ok_or(LoadError::NoObject)?;
        let (skb, features) = (running_layout()?, running_features()?);
        let pins = Pins::under(options.pin_dir);
        pins.create().map_err(|source| LoadError::PinDirectory {
            path: pins.directory().to_owned(),
            source,
        })?;
        let mark = kept_mark(&pins)?;
        let settings = Settings {
            mark,
            uplink: options.uplink,
            vxlan: options.vxlan,
            host: wide(options.host),
            port: options.port.to_be_bytes(),
            other_family_by_device: u8::from(!features.takes_off_other_family),
            reserved: 0,
            skb,
        };
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(pins.directory())
            // Described by type information, where nothing says that it is to be pinned.
            .map_pin_path(map::FLOWS, pins.map(map::FLOWS))
            .override_global(SETTINGS, &Pod(settings), true)
            .load(object)
            .map_err(|source| LoadError::Object {
                source: Box::new(source),
            })?;
        pins.check()?;
        let mark_error = |source| LoadError::Mark {
            source: Box::new(source),
        };
        pins.mark_map()?.set(0, mark, 0).map_err(mark_error)?;
        for program in Program::ALL {
            let program = program.name();
            let refused = |error: &ProgramError| LoadError::Program {
                program,
                message: explain(error),
            };
            classifier(&mut ebpf, program)
                .ok_or(LoadError::NoProgram { program })?
                .load()
                .map_err(|error| refused(&error))?;
        }
        #[cfg(debug_assertions)]
        super::log::follow(&mut ebpf);
        let names = ebpf.maps().map(|(name, _)| name.to_owned());
        let number = |name: &str| Some(MapInfo::from_pin(pins.map(name)).ok()?.id());
        let pinned = names.filter_map(|name| number(&name).map(|number| (name, number)));
        let pinned = pinned.collect();
        Ok(Self {
            ebpf,
            pins,
            mark,
            hook,
            pinned,
            held: HashMap::new(),
            guard_link: None,
        })
    }

    /// Where this agent's maps and links are pinned.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// How the programs are attached.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// The packet mark that says "delivered by our programs".
    pub fn mark(&self) -> u32 {
        self.mark
    }

    pub(super) fn loaded_object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// A loaded map.
    pub(super) fn map(&self, name: &str) -> Option<&Map> {
        self.ebpf.map(name)
    }

    /// A loaded program; for attaching it, and for tests that run it on packets of their own.
    pub fn program(&mut self, program: Program) -> Option<&mut SchedClassifier> {
        classifier(&mut self.ebpf, program.name())
    }
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Option<&'a mut SchedClassifier> {
    ebpf.program_mut(name).and_then(|program| program.try_into().ok())
}

/// The mark of the programs that may still be attached, or a new one. It must be known before the programs
/// are loaded, because they carry it as a constant.
fn kept_mark(pins: &Pins) -> Result<u32, LoadError> {
    let mut mark = 0;
    if pins.map(map::MARK).exists() {
        mark = pins.mark_map()?.get(&0, 0).map_err(|source| LoadError::Mark {
            source: Box::new(source),
        })?;
    }
    while mark == 0 {
        mark = rand::random();
    }
    Ok(mark)
}

/// An address as the contract has it: IPv6, or IPv4 as `::ffff:a.b.c.d`.
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The kernel's error, and the end of what the verifier wrote: the start of that log is of no use to anyone.
fn explain(error: &ProgramError) -> String {
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(VERIFIER_TAIL_LINES)..)
            .unwrap_or_default();
        return format!("{io_error}; the verifier's last words:\n{}", tail.join("\n"));
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::wide;

    #[test]
    fn an_ipv4_host_is_written_as_a_mapped_address() {
        assert_eq!(
            wide([192, 0, 2, 1].into()),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1],
            "the programs compare all 16 bytes"
        );
    }
}
