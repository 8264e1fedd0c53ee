//! The few calls of `bpf(2)` that are made once for every packet, without a library in between. All `unsafe` of the
//! package but the making of taps stands here.
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const MAP_NEXT_KEY: libc::c_int = 4;
const OBJECT_GET: libc::c_int = 7;
const TEST_RUN: libc::c_int = 10;
const MAP_TAKE: libc::c_int = 21;
/// `BPF_MAP_TYPE_LRU_HASH`.
const LRU_HASH: u32 = 9;

/// Bytes of the kernel's `struct __sk_buff`, and places in it.
const CONTEXT: usize = 192;
const MARK: usize = 8;
const INTERFACE: usize = 40;
const GSO_SEGMENTS: usize = 164;
const GSO_SIZE: usize = 176;
/// Largest frame that a program may leave.
const ROOM: usize = 8192;

#[repr(C)]
#[derive(Default)]
struct MapAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct CreateAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct ObjectAttributes {
    path: u64,
    descriptor: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestAttributes {
    program: u32,
    answer: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i64> {
    // SAFETY: every caller passes the attributes of its command, whose addresses are of memory that lives through the
    // call and has the sizes that the map, or the attributes, say.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *mut T, size_of::<T>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

fn address<T: ?Sized>(of: *const T) -> u64 {
    of.cast::<u8>() as u64
}

fn own(descriptor: i64) -> OwnedFd {
    // SAFETY: the kernel has just handed the descriptor out.
    unsafe { OwnedFd::from_raw_fd(descriptor as i32) }
}

/// A map of which keys and values are known: the caller says so where it opens it.
#[derive(Debug)]
pub struct RawMap<K, V> {
    file: OwnedFd,
    of: std::marker::PhantomData<(K, V)>,
}

impl<K, V> RawMap<K, V>
where
    K: IntoBytes + Immutable,
    V: FromBytes + IntoBytes + Immutable,
{
    /// Opens what is pinned there. The loader has compared its layout with the contract.
    pub fn pinned(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_encoded_bytes())?;
        let mut attributes = ObjectAttributes {
            path: address(path.as_ptr()),
            ..ObjectAttributes::default()
        };
        let file = own(bpf(OBJECT_GET, &mut attributes)?);
        let of = std::marker::PhantomData;
        Ok(Self { file, of })
    }

    /// Makes a table that forgets what was not used for longest.
    pub fn lru(entries: u32) -> io::Result<Self> {
        let mut attributes = CreateAttributes {
            kind: LRU_HASH,
            key_size: size_of::<K>() as u32,
            value_size: size_of::<V>() as u32,
            max_entries: entries,
            flags: 0,
        };
        let file = own(bpf(MAP_CREATE, &mut attributes)?);
        let of = std::marker::PhantomData;
        Ok(Self { file, of })
    }

    /// Its descriptor, for a map of maps.
    pub fn descriptor(&self) -> u32 {
        self.file.as_raw_fd() as u32
    }

    fn attributes(&self, key: *const K, value: *const V) -> MapAttributes {
        MapAttributes {
            map: self.descriptor(),
            key: address(key),
            value: address(value),
            ..MapAttributes::default()
        }
    }

    /// Writes one value.
    pub fn set(&self, key: &K, value: &V) -> io::Result<()> {
        bpf(MAP_UPDATE, &mut self.attributes(key, value)).map(drop)
    }

    /// Removes one value.
    pub fn remove(&self, key: &K) -> io::Result<()> {
        bpf(MAP_DELETE, &mut self.attributes(key, std::ptr::null())).map(drop)
    }

    /// Reads one value.
    pub fn get(&self, key: &K) -> io::Result<Option<V>> {
        self.read(MAP_LOOKUP, key)
    }

    /// Reads one value and removes it.
    pub fn take(&self, key: &K) -> io::Result<Option<V>> {
        self.read(MAP_TAKE, key)
    }

    fn read(&self, command: libc::c_int, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        match bpf(command, &mut self.attributes(key, &raw mut value)) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<K: FromBytes + IntoBytes + Immutable, V: FromBytes + IntoBytes + Immutable> RawMap<K, V> {
    /// Any key, if there is one.
    pub fn any_key(&self) -> io::Result<Option<K>> {
        let mut next = K::new_zeroed();
        let mut attributes = MapAttributes {
            value: address(&raw mut next),
            ..self.attributes(std::ptr::null(), std::ptr::null())
        };
        match bpf(MAP_NEXT_KEY, &mut attributes) {
            Ok(_) => Ok(Some(next)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where a test run writes; used again for each.
#[derive(Debug)]
pub struct TestRun {
    context: [u8; CONTEXT],
    context_out: [u8; CONTEXT],
    frame: Vec<u8>,
}

/// What a program has made of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran<'a> {
    /// The action.
    pub action: i32,
    /// The mark afterwards.
    pub mark: u32,
    /// The frame afterwards.
    pub frame: &'a [u8],
}

impl TestRun {
    /// With nothing in it.
    pub fn new() -> Self {
        Self {
            context: [0; CONTEXT],
            context_out: [0; CONTEXT],
            frame: vec![0; ROOM],
        }
    }

    /// Runs a program on one frame.
    pub fn run(&mut self, program: BorrowedFd<'_>, input: &crate::oracle::Input) -> io::Result<Ran<'_>> {
        let baggage = input.baggage;
        for (at, number) in [
            (INTERFACE, input.interface),
            (MARK, baggage.mark),
            (GSO_SIZE, baggage.gso_size),
            (GSO_SEGMENTS, baggage.gso_segments),
        ] {
            self.context[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        let mut attributes = TestAttributes {
            program: program.as_raw_fd() as u32,
            data_size_in: input.frame.len() as u32,
            data_size_out: self.frame.len() as u32,
            data_in: address(input.frame.as_ptr()),
            data_out: address(self.frame.as_mut_ptr()),
            context_size_in: CONTEXT as u32,
            context_size_out: CONTEXT as u32,
            context_in: address(self.context.as_ptr()),
            context_out: address(self.context_out.as_mut_ptr()),
            ..TestAttributes::default()
        };
        bpf(TEST_RUN, &mut attributes)?;
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| self.context_out[MARK + at]);
        Ok(Ran {
            action: attributes.answer as i32,
            mark: u32::from_ne_bytes([a, b, c, d]),
            frame: &self.frame[..attributes.data_size_out as usize],
        })
    }
}

impl Default for TestRun {
    fn default() -> Self {
        Self::new()
    }
}
