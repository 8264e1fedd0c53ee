//! Typed opens of every map. Each call opens the pin anew, so what it returns belongs to the caller and may
//! move to the task that uses it.
use super::{flows, load::Loaded, pins::Pins, pod::Pod};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use pairgate_abi::{Budget, Count, Handle, InEntry, NextHop, OutEntry, OutKey, TapEntry, map};

/// A map could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open the map {map}: {source}; if it was pinned by another build, stop the agent and remove the pins"
)]
pub struct OpenError {
    /// Its name in the contract.
    pub map: &'static str,
    /// What the kernel or the check of its layout said.
    #[source]
    pub source: Box<MapError>,
}

impl Pins {
    fn open<M>(&self, name: &'static str) -> Result<M, OpenError>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        MapData::from_pin(self.map(name))
            .and_then(Map::from_map_data)
            .and_then(M::try_from)
            .map_err(|source| OpenError {
                map: name,
                source: Box::new(source),
            })
    }

    /// Opens every map once, which compares its kind and the sizes of key and value with the contract.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        self.taps()?;
        self.pairs_out()?;
        self.pairs_in()?;
        self.next_hops()?;
        self.lease()?;
        self.drops()?;
        self.passed()?;
        self.budgets()?;
        self.events()?;
        self.held()?;
        self.questions()?;
        self.released()?;
        self.refused()?;
        self.flows()?;
        self.big()?;
        self.uplink_mac()?;
        self.mark_map()?;
        Ok(())
    }

    /// Tap interface index to what its guest may say.
    pub fn taps(&self) -> Result<HashMap<MapData, u32, Pod<TapEntry>>, OpenError> {
        self.open(map::TAPS)
    }

    /// Pairs a local guest may send on.
    pub fn pairs_out(&self) -> Result<HashMap<MapData, Pod<OutKey>, Pod<OutEntry>>, OpenError> {
        self.open(map::PAIRS_OUT)
    }

    /// Pairs a local guest may receive on.
    pub fn pairs_in(&self) -> Result<HashMap<MapData, Pod<Handle>, Pod<InEntry>>, OpenError> {
        self.open(map::PAIRS_IN)
    }

    /// Peer host address to the way there.
    pub fn next_hops(&self) -> Result<HashMap<MapData, [u8; 16], Pod<NextHop>>, OpenError> {
        self.open(map::NEXT_HOPS)
    }

    /// Index 0: the boot-time instant in nanoseconds at which the host lease ends.
    pub fn lease(&self) -> Result<Array<MapData, u64>, OpenError> {
        self.open(map::LEASE)
    }

    /// Packets dropped, by `pairgate_abi::drop_index`.
    pub fn drops(&self) -> Result<PerCpuArray<MapData, u64>, OpenError> {
        self.open(map::DROPS)
    }

    /// Packets and bytes passed, by `pairgate_abi::count_index`.
    pub fn passed(&self) -> Result<PerCpuArray<MapData, Pod<Count>>, OpenError> {
        self.open(map::PASSED)
    }

    /// Rate limits by tap slot. Write zeros when a slot gets a new guest.
    pub fn budgets(&self) -> Result<Array<MapData, Pod<Budget>>, OpenError> {
        self.open(map::BUDGETS)
    }

    /// The ring of `pairgate_abi::Event`. It has one reader: open it once.
    pub fn events(&self) -> Result<RingBuf<MapData>, OpenError> {
        self.open(map::EVENTS)
    }

    /// The ring of `pairgate_abi::Held`. It has one reader: open it once.
    pub fn held(&self) -> Result<RingBuf<MapData>, OpenError> {
        self.open(map::HELD)
    }

    /// The ring of `pairgate_abi::Question`. It has one reader: open it once.
    pub fn questions(&self) -> Result<RingBuf<MapData>, OpenError> {
        self.open(map::QUESTIONS)
    }

    /// Held packets that the agent is done with, by tap slot.
    pub fn released(&self) -> Result<Array<MapData, u64>, OpenError> {
        self.open(map::RELEASED)
    }

    /// What the registry has refused a moment ago, until when.
    pub fn refused(&self) -> Result<HashMap<MapData, Pod<OutKey>, u64>, OpenError> {
        self.open(map::REFUSED)
    }

    /// The tables of conversations, by tap slot.
    pub(super) fn flows(&self) -> Result<flows::Outer, OpenError> {
        self.open(map::FLOWS)
    }

    /// When flows last had a packet that arrived big, by a hash of theirs.
    pub fn big(&self) -> Result<Array<MapData, u64>, OpenError> {
        self.open(map::BIG)
    }

    /// The uplink's MAC address and two zeros.
    pub fn uplink_mac(&self) -> Result<Array<MapData, [u8; 8]>, OpenError> {
        self.open(map::UPLINK_MAC)
    }

    /// The delivered mark, for the agent that comes after.
    pub fn mark_map(&self) -> Result<Array<MapData, u32>, OpenError> {
        self.open(map::MARK)
    }
}

/// The same opens, from the programs that use the maps.
impl Loaded {
    /// Tap interface index to what its guest may say.
    pub fn taps(&self) -> Result<HashMap<MapData, u32, Pod<TapEntry>>, OpenError> {
        self.pins().taps()
    }

    /// Pairs a local guest may send on.
    pub fn pairs_out(&self) -> Result<HashMap<MapData, Pod<OutKey>, Pod<OutEntry>>, OpenError> {
        self.pins().pairs_out()
    }

    /// Pairs a local guest may receive on.
    pub fn pairs_in(&self) -> Result<HashMap<MapData, Pod<Handle>, Pod<InEntry>>, OpenError> {
        self.pins().pairs_in()
    }

    /// Peer host address to the way there.
    pub fn next_hops(&self) -> Result<HashMap<MapData, [u8; 16], Pod<NextHop>>, OpenError> {
        self.pins().next_hops()
    }

    /// Index 0: the boot-time instant in nanoseconds at which the host lease ends.
    pub fn lease(&self) -> Result<Array<MapData, u64>, OpenError> {
        self.pins().lease()
    }

    /// Packets dropped, by `pairgate_abi::drop_index`.
    pub fn drops(&self) -> Result<PerCpuArray<MapData, u64>, OpenError> {
        self.pins().drops()
    }

    /// Packets and bytes passed, by `pairgate_abi::count_index`.
    pub fn passed(&self) -> Result<PerCpuArray<MapData, Pod<Count>>, OpenError> {
        self.pins().passed()
    }

    /// Rate limits by tap slot. Write zeros when a slot gets a new guest.
    pub fn budgets(&self) -> Result<Array<MapData, Pod<Budget>>, OpenError> {
        self.pins().budgets()
    }

    /// The ring of `pairgate_abi::Event`. It has one reader: open it once.
    pub fn events(&self) -> Result<RingBuf<MapData>, OpenError> {
        self.pins().events()
    }

    /// The ring of `pairgate_abi::Held`. It has one reader: open it once.
    pub fn held(&self) -> Result<RingBuf<MapData>, OpenError> {
        self.pins().held()
    }

    /// The ring of `pairgate_abi::Question`. It has one reader: open it once.
    pub fn questions(&self) -> Result<RingBuf<MapData>, OpenError> {
        self.pins().questions()
    }

    /// Held packets that the agent is done with, by tap slot.
    pub fn released(&self) -> Result<Array<MapData, u64>, OpenError> {
        self.pins().released()
    }

    /// What the registry has refused a moment ago, until when.
    pub fn refused(&self) -> Result<HashMap<MapData, Pod<OutKey>, u64>, OpenError> {
        self.pins().refused()
    }

    /// The tables of conversations, by tap slot.
    pub(super) fn flows(&self) -> Result<flows::Outer, OpenError> {
        self.pins().flows()
    }

    /// Writes the uplink's MAC address, by which the guard knows what is for this host; true if another stood there.
    pub fn set_uplink_mac(&self, mac: [u8; 6]) -> Result<bool, OpenError> {
        let [a, b, c, d, e, f] = mac;
        put(
            self.pins().uplink_mac()?,
            map::UPLINK_MAC,
            [a, b, c, d, e, f, 0, 0],
        )
    }

    /// Writes the mark of the programs, which have it as a constant; true if another stood there.
    pub fn set_mark(&self) -> Result<bool, OpenError> {
        put(self.pins().mark_map()?, map::MARK, self.mark())
    }
}

/// Writes the only element of a map if it is another; true if so.
fn put<V: aya::Pod + PartialEq>(
    mut array: Array<MapData, V>,
    map: &'static str,
    value: V,
) -> Result<bool, OpenError> {
    let said = |source| OpenError {
        map,
        source: Box::new(source),
    };
    let is_other = array.get(&0, 0).map_err(said)? != value;
    if is_other {
        array.set(0, value, 0).map_err(said)?;
    }
    Ok(is_other)
}
