//! The bytes of a packet that stand in one piece, behind a safe door.
use core::arch::asm;

/// One load from the packet, however it is aligned. The compiler would take a number that may stand anywhere apart
/// into single bytes, eight loads for one; the kernel's verifier allows the whole one in packets.
macro_rules! load {
    ($size:literal, $at:expr) => {{
        let found: u64;
        asm!(
            concat!("{found} = *(", $size, " *)({at} + 0)"),
            found = out(reg) found,
            at = in(reg) $at,
            options(pure, readonly, nostack, preserves_flags)
        );
        found
    }};
}

/// The N bytes at this place, of a packet that stands between two addresses; none if they are not all in it. The
/// comparison with the end is what the verifier wants to see before each load.
#[inline(always)]
pub fn read<const N: usize>(start: usize, end: usize, at: usize) -> Option<[u8; N]> {
    if start + at + N > end {
        return None;
    }
    let mut bytes = [0; N];
    let mut read = 0;
    while read + 8 <= N {
        // SAFETY: the N bytes end at or before the packet's end; so for the pieces below.
        let piece = unsafe { load!("u64", start + at + read) };
        bytes[read..read + 8].copy_from_slice(&piece.to_ne_bytes());
        read += 8;
    }
    if read + 4 <= N {
        // SAFETY: see above.
        let piece = unsafe { load!("u32", start + at + read) };
        bytes[read..read + 4].copy_from_slice(&(piece as u32).to_ne_bytes());
        read += 4;
    }
    if read + 2 <= N {
        // SAFETY: see above.
        let piece = unsafe { load!("u16", start + at + read) };
        bytes[read..read + 2].copy_from_slice(&(piece as u16).to_ne_bytes());
        read += 2;
    }
    if read < N {
        // SAFETY: see above.
        bytes[read] = unsafe { load!("u8", start + at + read) } as u8;
    }
    Some(bytes)
}
