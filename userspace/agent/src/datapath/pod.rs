//! The licence for values of the kernel contract to be copied to and from maps.
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A key or value of a map. The contract crate cannot know aya, so the proof that its types are plain bytes
/// without padding (the `zerocopy` traits) is turned into aya's marker here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pod<T>(pub T);

// SAFETY: `Pod<T>` has the layout of `T`; `IntoBytes` says that `T` has no padding or uninitialised byte,
// `FromBytes` that every bit pattern is a `T`, `Immutable` that none of it changes behind a shared reference.
unsafe impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> aya::Pod for Pod<T> {}
