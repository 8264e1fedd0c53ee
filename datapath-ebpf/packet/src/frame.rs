//! Reading a frame without owning its memory.
//!
//! A header is read whole, in one piece, and taken apart afterwards. Several reads whose answers are looked at
//! together make the compiler copy registers that it has not set on every way, and the verifier refuses a
//! program for that; which change of the source brings it about cannot be foreseen.

/// A frame as the decisions see it, from the first byte of the destination MAC address.
pub trait Frame {
    /// Length of the whole frame in bytes.
    fn length(&self) -> u32;

    /// The `N` bytes from `at` on, or nothing if the frame ends before. For the programs both numbers are
    /// constants.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// The same for what is seldom asked for: also from the part of a frame in the kernel that is not in one piece with
    /// its headers, at the price of a copy.
    #[inline(always)]
    fn read_far<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.read(at)
    }
}

/// A frame in ordinary memory: for the tests and tools on the host.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Frame for Bytes<'_> {
    fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}
