//! One kind of host in the kernel: the programs loaded with its settings, and its maps filled.
use super::sys::RawMap;
use crate::world::{Kind, Link, Links, content};
use anyhow::{Context, Result};
use aya::maps::{MapData, RingBuf};
use pairgate_abi::{Budget, FlowKey, Handle, InEntry, OutEntry, OutKey, Settings, limits, map};
use pairgate_agent::datapath::{LoadOptions, Loaded, Pod, Program, running_layout};
use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// See the module.
#[expect(missing_debug_implementations, reason = "the library's maps have none")]
pub struct Host {
    /// Which kind.
    pub kind: Kind,
    /// Its interfaces.
    pub links: Links,
    /// What the programs were loaded with.
    pub settings: Settings,
    pub(crate) loaded: Loaded,
    programs: Vec<(Program, OwnedFd)>,
    pub(crate) pairs_out: RawMap<OutKey, OutEntry>,
    pub(crate) pairs_in: RawMap<Handle, InEntry>,
    pub(crate) budgets: RawMap<u32, Budget>,
    pub(crate) released: RawMap<u32, u64>,
    pub(crate) lease: RawMap<u32, u64>,
    pub(crate) big: RawMap<u32, u64>,
    pub(crate) tables: HashMap<u32, RawMap<FlowKey, u64>>,
    pub(crate) held: RingBuf<MapData>,
    pub(crate) events: RingBuf<MapData>,
    pub(crate) questions: RingBuf<MapData>,
}

impl Host {
    /// Loads the programs and fills the maps, in the thread's own namespaces.
    pub fn load(kind: Kind, links: &Links) -> Result<Self> {
        let pin_dir = format!("/sys/fs/bpf/{kind}");
        let options = LoadOptions {
            pin_dir: Path::new(&pin_dir),
            uplink: links.index(Link::Uplink),
            vxlan: content::device(kind, links),
            host: kind.host(),
            port: content::PORT,
        };
        let mut loaded = Loaded::load(&options)?;
        let settings = Settings {
            mark: loaded.mark(),
            uplink: options.uplink,
            vxlan: options.vxlan,
            host: content::host(kind.underlay, 1),
            port: content::PORT.to_be_bytes(),
            other_family_by_device: 0,
            reserved: 0,
            skb: running_layout()?,
        };
        let mut programs = Vec::new();
        for program in Program::ALL {
            let loaded = loaded.program(program).context("a program is missing")?;
            programs.push((program, loaded.fd()?.as_fd().try_clone_to_owned()?));
        }
        let host = Self {
            kind,
            links: *links,
            settings,
            programs,
            pairs_out: pinned(&loaded, map::PAIRS_OUT)?,
            pairs_in: pinned(&loaded, map::PAIRS_IN)?,
            budgets: pinned(&loaded, map::BUDGETS)?,
            released: pinned(&loaded, map::RELEASED)?,
            lease: pinned(&loaded, map::LEASE)?,
            big: pinned(&loaded, map::BIG)?,
            tables: HashMap::new(),
            held: loaded.held()?,
            events: loaded.events()?,
            questions: loaded.questions()?,
            loaded,
        };
        host.filled()
    }

    /// The program, to be run.
    pub fn program(&self, wanted: Program) -> Result<BorrowedFd<'_>> {
        let found = self.programs.iter().find(|(program, _)| *program == wanted);
        found
            .map(|(_, file)| file.as_fd())
            .context("a program is missing")
    }

    /// Puts the programs on the first guest's tap and on the uplink, for frames that no test run takes.
    pub fn attach(&mut self) -> Result<()> {
        self.loaded.attach_tap(Link::Guest.name())?;
        self.loaded.attach_uplink(Link::Uplink.name())?;
        Ok(())
    }

    /// Lets them go again: what is pinned is all that holds them.
    pub fn detach(self) -> Result<()> {
        let pin_dir = self.loaded.pins().directory().to_owned();
        drop(self);
        std::fs::remove_dir_all(&pin_dir).with_context(|| format!("cannot remove {}", pin_dir.display()))
    }

    fn filled(mut self) -> Result<Self> {
        let mut taps = self.loaded.taps()?;
        for tap in Link::TAPS {
            taps.insert(self.links.index(tap), Pod(content::tap(tap)), 0)?;
        }
        for (key, entry) in content::pairs_out(self.kind, &self.links) {
            self.pairs_out.set(&key, &entry)?;
        }
        for (handle, entry) in content::pairs_in(self.kind, &self.links) {
            self.pairs_in.set(&handle, &entry)?;
        }
        let mut next_hops = self.loaded.next_hops()?;
        for (host, way) in content::next_hops(self.kind, &self.links) {
            next_hops.insert(host, Pod(way), 0)?;
        }
        let mut refused = self.loaded.refused()?;
        for (key, until_ns) in content::refused(&self.links) {
            refused.insert(Pod(key), until_ns, 0)?;
        }
        let outer: RawMap<u32, u32> = pinned(&self.loaded, map::FLOWS)?;
        for tap in [Link::Guest, Link::Door, Link::Many] {
            let table = RawMap::lru(limits::FLOWS_PER_TAP)?;
            outer.set(&content::slot(tap), &table.descriptor())?;
            self.tables.insert(content::slot(tap), table);
        }
        let idle = content::idle_big(self.kind);
        if idle != 0 {
            for cell in 0..limits::BIG_CELLS {
                self.big.set(&cell, &idle)?;
            }
        }
        Ok(self)
    }
}

fn pinned<K, V>(loaded: &Loaded, name: &str) -> Result<RawMap<K, V>>
where
    K: zerocopy::IntoBytes + zerocopy::Immutable,
    V: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable,
{
    RawMap::pinned(&loaded.pins().map(name)).with_context(|| format!("cannot open the map {name}"))
}

/// Boot time, as the programs read it.
pub fn now_ns() -> Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
