//! A frame as a program has it, and what the kernel's helpers do to it.
use pairgate_packet::{Bytes, Checksum, Frame, Gso, Metadata, ip::Family, outer};

/// What is known of a frame besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baggage {
    /// The packet mark.
    pub mark: u32,
    /// Payload bytes of each segment; 0 if it is not to be cut.
    pub gso_size: u32,
    /// How many segments.
    pub gso_segments: u32,
}

/// A frame in a program.
#[derive(Debug)]
pub(super) struct Skb<'a> {
    pub(super) frame: &'a mut Vec<u8>,
    pub(super) interface: u32,
    pub(super) baggage: Baggage,
    pub(super) is_to_host: bool,
}

impl Frame for Skb<'_> {
    fn length(&self) -> u32 {
        Bytes(self.frame).length()
    }

    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        Bytes(self.frame).read(at)
    }
}

impl Skb<'_> {
    /// A test run has no tag, no unfinished checksum, and cannot say what is to be cut.
    pub(super) fn metadata(&self) -> Metadata {
        let Baggage {
            gso_size,
            gso_segments,
            ..
        } = self.baggage;
        let gso = (gso_size != 0 || gso_segments > 1).then_some(Gso {
            size: gso_size,
            kind: 0,
        });
        Metadata {
            vlan: false,
            gso,
            checksum: Checksum::Finished,
        }
    }

    pub(super) fn resize(&mut self, length: u32) {
        self.frame.resize(length as usize, 0);
    }

    pub(super) fn store(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// New headers in the place of the Ethernet header.
    pub(super) fn precede(&mut self, headers: &[u8]) {
        self.frame.splice(..14, headers.iter().copied());
    }

    pub(super) fn wrap(&mut self, header: &[u8]) {
        let end = self.frame.len();
        self.frame.resize(end + header.len(), 0);
        self.frame.copy_within(14..end, 14 + header.len());
        self.store(14, header);
    }

    pub(super) fn unwrap(&mut self, header: &[u8], underlay: Family) {
        let taken = outer::length(underlay);
        self.frame.copy_within(14 + taken.., 14);
        self.frame.truncate(self.frame.len() - taken);
        self.store(0, header);
    }
}
