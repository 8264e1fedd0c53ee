//! Reading a large map many entries at a time: one system call for a slice instead of two for each entry. The library
//! has no door to it.

use super::{OpenError, kernel, pins::Pins};
use crate::keeper::{Place, Slice, TableError};
use aya::maps::MapData;
use pairgate_abi::{Handle, InEntry, OutEntry, OutKey, map};
use std::{fmt, os::fd::AsFd};
use zerocopy::FromBytes;

/// The maps of pairs, for reading them so.
pub(super) struct Batches {
    incoming: MapData,
    outgoing: MapData,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}

impl Batches {
    pub(super) fn open(pins: &Pins) -> Result<Self, OpenError> {
        let open = |name| {
            MapData::from_pin(pins.map(name)).map_err(|source| OpenError {
                map: name,
                source: Box::new(source),
            })
        };
        Ok(Self {
            incoming: open(map::PAIRS_IN)?,
            outgoing: open(map::PAIRS_OUT)?,
        })
    }

    pub(super) fn incoming(
        &self,
        from: Option<Place>,
        most: usize,
    ) -> Result<Slice<Handle, InEntry>, TableError> {
        read(&self.incoming, map::PAIRS_IN, from, most)
    }

    pub(super) fn outgoing(
        &self,
        from: Option<Place>,
        most: usize,
    ) -> Result<Slice<OutKey, OutEntry>, TableError> {
        read(&self.outgoing, map::PAIRS_OUT, from, most)
    }
}

/// The sizes of key and value were compared with the contract when the map was opened first.
fn read<K: FromBytes, V: FromBytes>(
    data: &MapData,
    name: &'static str,
    from: Option<Place>,
    most: usize,
) -> Result<Slice<K, V>, TableError> {
    let failed = |why: String| TableError {
        verb: "read",
        map: name,
        why,
    };
    let mut keys: Vec<K> = std::iter::repeat_with(K::new_zeroed).take(most).collect();
    let mut values: Vec<V> = std::iter::repeat_with(V::new_zeroed).take(most).collect();
    let from = from.map(|Place(place)| place);
    let batch = kernel::lookup_batch(data.fd().as_fd(), from, &mut keys, &mut values);
    let (count, next) = batch.map_err(|error| failed(error.to_string()))?;
    keys.truncate(count);
    Ok(Slice {
        rows: keys.into_iter().zip(values).collect(),
        next: next.map(Place),
    })
}
