//! How many entries the smaller maps hold, counted when asked. Pairs are not counted here: there may be a
//! hundred thousand of them, and the keeper knows their number.

use super::{load::Loaded, open::OpenError, pod::Pod};
use aya::maps::{HashMap, MapData};
use pairgate_abi::{NextHop, OutKey, TapEntry, limits, map};

/// See the module.
#[derive(Debug)]
pub struct MapFill {
    taps: HashMap<MapData, u32, Pod<TapEntry>>,
    next_hops: HashMap<MapData, [u8; 16], Pod<NextHop>>,
    refused: HashMap<MapData, Pod<OutKey>, u64>,
}

impl MapFill {
    /// The maps that are counted, with what fits in each.
    pub const MAPS: [(&'static str, u32); 3] = [
        (map::TAPS, limits::SLOTS),
        (map::NEXT_HOPS, limits::PEERS),
        (map::REFUSED, limits::REFUSALS),
    ];

    pub fn open(loaded: &Loaded) -> Result<Self, OpenError> {
        Ok(Self {
            taps: loaded.taps()?,
            next_hops: loaded.next_hops()?,
            refused: loaded.refused()?,
        })
    }

    /// Entries now, in the order of [`Self::MAPS`]. Entries that come and go meanwhile count or not.
    pub fn entries(&self) -> Vec<(&'static str, usize)> {
        vec![
            (map::TAPS, self.taps.keys().count()),
            (map::NEXT_HOPS, self.next_hops.keys().count()),
            (map::REFUSED, self.refused.keys().count()),
        ]
    }

    /// What fits in a map of [`Self::MAPS`].
    pub fn capacity(name: &str) -> u32 {
        let found = Self::MAPS.iter().find(|(map, _)| *map == name);
        found.map_or(0, |(_, capacity)| *capacity)
    }
}
