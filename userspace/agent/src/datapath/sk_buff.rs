//! Finds out from the running kernel's type information (BTF) where `struct sk_buff` keeps the state of a
//! packet's checksum, and where `struct skb_shared_info` behind it says how a big packet is to be cut. No type
//! information, no layout, no datapath: without it a guest could lie.
//!
//! ```text
//! header: magic 0xeb9f u16, version u8, flags u8, header length u32, then offset and length (u32 each,
//!         counted from the header's end) of the types and of the strings
//! type:   name u32 | info u32: number of items (bits 0-15), kind (24-28), "items hold bit sizes" (31)
//!         | size or type u32 | as many items as the kind asks for
//! member of a struct or union: name u32 | type u32 | offset u32 in bits, with bit sizes: size << 24 | offset
//! ```
//! (Linux, `Documentation/bpf/btf.rst`.) Everything is little-endian, as the programs are.
use pairgate_abi::SkbLayout;

/// Where the kernel publishes the description of its own types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
/// Its items: name u32 | value i32.
const KIND_ENUMERATION: u32 = 6;
/// Fields stand in anonymous structs and unions inside `sk_buff`, two deep in 2026.
const DEPTH: usize = 8;

/// The kernel's types do not say where the checksum state is.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// They could not be read.
    #[error("cannot read {VMLINUX}: {source}; a kernel with CONFIG_DEBUG_INFO_BTF is needed")]
    Read {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// They could not be understood.
    #[error("the kernel's type information is damaged: {what}")]
    Damaged {
        /// Where reading failed.
        what: &'static str,
    },
    /// A field is missing or of an unexpected shape.
    #[error("the kernel's struct {structure} has no usable field {field}")]
    Field {
        /// Which should have it.
        structure: &'static str,
        /// Its name.
        field: &'static str,
    },
}

/// The layout of the kernel that runs now.
pub fn running_layout() -> Result<SkbLayout, LayoutError> {
    let bytes = std::fs::read(VMLINUX).map_err(|source| LayoutError::Read { source })?;
    layout(&bytes)
}

/// What the programs may ask of the kernel that runs now, and older ones refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `bpf_skb_adjust_room` can be told which family comes out from under a header (Linux 6.3).
    pub takes_off_other_family: bool,
}

/// The features of the kernel that runs now: it names its own flags.
pub fn running_features() -> Result<Features, LayoutError> {
    let bytes = std::fs::read(VMLINUX).map_err(|source| LayoutError::Read { source })?;
    let types = Types::read(&bytes)?;
    let flags = ["BPF_F_ADJ_ROOM_DECAP_L3_IPV4", "BPF_F_ADJ_ROOM_DECAP_L3_IPV6"];
    Ok(Features {
        takes_off_other_family: flags.iter().all(|flag| types.has_constant(flag)),
    })
}

const PACKET: &str = "sk_buff";
/// What stands at `head + end` of every packet.
const SHARED: &str = "skb_shared_info";

fn layout(bytes: &[u8]) -> Result<SkbLayout, LayoutError> {
    let types = Types::read(bytes)?;
    let ip_summed = match types.place(PACKET, "ip_summed")? {
        // Two bits inside one byte: what the programs read.
        Place { bit, bits: Some(2) } if bit % 8 <= 6 => bit,
        Place { .. } => return Err(unusable(PACKET, "ip_summed")),
    };
    let csum_start = types.byte(PACKET, "csum_start")?;
    if types.byte(PACKET, "csum_offset")? != csum_start + 2 {
        return Err(unusable(PACKET, "csum_offset"));
    }
    Ok(SkbLayout {
        ip_summed: ip_summed / 8,
        ip_summed_shift: ip_summed % 8,
        head: types.byte(PACKET, "head")?,
        data: types.byte(PACKET, "data")?,
        csum_start,
        end: types.byte(PACKET, "end")?,
        gso_type: types.byte(SHARED, "gso_type")?,
    })
}

fn unusable(structure: &'static str, field: &'static str) -> LayoutError {
    LayoutError::Field { structure, field }
}

/// Where a field is: bits from the start of the structure, and its size if it is a bit field.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    bit: u32,
    bits: Option<u32>,
}

struct Type<'a> {
    name: u32,
    kind: u32,
    bit_sizes: bool,
    /// Members of a struct or union, 12 bytes each; of other kinds whatever follows.
    items: &'a [u8],
}

struct Types<'a> {
    /// The type numbered n stands at n - 1; 0 is `void`.
    types: Vec<Type<'a>>,
    strings: &'a [u8],
}

impl<'a> Types<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        let damaged = |what| LayoutError::Damaged { what };
        let header = |at| word(bytes, at).ok_or(damaged("header"));
        if bytes.get(..2) != Some(&MAGIC.to_le_bytes()) {
            return Err(damaged("magic"));
        }
        let base = header(4)?;
        let section = |offset: u32, length: u32| {
            let from = base.checked_add(offset)?;
            bytes.get(from as usize..from.checked_add(length)? as usize)
        };
        let strings = section(header(16)?, header(20)?).ok_or(damaged("strings"))?;
        let mut rest = section(header(8)?, header(12)?).ok_or(damaged("types"))?;
        let mut types = Vec::new();
        while !rest.is_empty() {
            let (Some(name), Some(info)) = (word(rest, 0), word(rest, 4)) else {
                return Err(damaged("type"));
            };
            let kind = info >> 24 & 0x1f;
            let length = items_length(kind, (info & 0xffff) as usize).ok_or(damaged("kind of type"))?;
            let items = rest.get(12..12 + length).ok_or(damaged("items of a type"))?;
            types.push(Type {
                name,
                kind,
                bit_sizes: info >> 31 == 1,
                items,
            });
            rest = rest.get(12 + length..).unwrap_or_default();
        }
        Ok(Self { types, strings })
    }

    /// Whether an enumeration has a constant of this name.
    fn has_constant(&self, name: &str) -> bool {
        let enumerations = self.types.iter().filter(|found| found.kind == KIND_ENUMERATION);
        enumerations
            .flat_map(|found| found.items.chunks_exact(8))
            .filter_map(|item| word(item, 0))
            .any(|at| self.is_named(at, name))
    }

    /// Where the field of a structure begins, in whole bytes.
    fn byte(&self, structure: &'static str, field: &'static str) -> Result<u32, LayoutError> {
        match self.place(structure, field)? {
            Place { bit, bits: None } if bit % 8 == 0 => Ok(bit / 8),
            Place { .. } => Err(unusable(structure, field)),
        }
    }

    fn place(&self, structure: &'static str, field: &'static str) -> Result<Place, LayoutError> {
        let missing = "(no such struct)";
        let within = self.structure(structure).ok_or(unusable(structure, missing))?;
        let found = self.field(within, field, 0, DEPTH);
        found.ok_or(unusable(structure, field))
    }

    fn structure(&self, name: &str) -> Option<&Type<'a>> {
        self.types
            .iter()
            .find(|found| found.kind == KIND_STRUCT && self.is_named(found.name, name))
    }

    /// The field's place in `within`, which starts `base` bits into the structure; also found in what
    /// `within` holds without a name.
    fn field(&self, within: &Type<'a>, name: &str, base: u32, depth: usize) -> Option<Place> {
        for member in within.items.chunks_exact(12) {
            let (member_name, number, offset) = (word(member, 0)?, word(member, 4)?, word(member, 8)?);
            let (offset, size) = if within.bit_sizes {
                (offset & 0xff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            let bit = base.checked_add(offset)?;
            if self.is_named(member_name, name) {
                return Some(Place {
                    bit,
                    bits: (size != 0).then_some(size),
                });
            }
            let inside = (number as usize)
                .checked_sub(1)
                .and_then(|index| self.types.get(index));
            if let Some(inside) = inside
                && depth > 0
                && self.is_named(member_name, "")
                && matches!(inside.kind, KIND_STRUCT | KIND_UNION)
                && let Some(place) = self.field(inside, name, bit, depth - 1)
            {
                return Some(place);
            }
        }
        None
    }

    fn is_named(&self, at: u32, name: &str) -> bool {
        self.strings
            .get(at as usize..)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Bytes that follow a type of this kind, or none for a kind that we do not know and so cannot step over.
fn items_length(kind: u32, items: usize) -> Option<usize> {
    match kind {
        // pointer, forward declaration, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=12 | 16 | 18 => Some(0),
        // integer, variable, declaration tag
        1 | 14 | 17 => Some(4),
        3 => Some(12),
        KIND_STRUCT | KIND_UNION | 15 | 19 => Some(items * 12),
        // enumeration, function prototype
        KIND_ENUMERATION | 13 => Some(items * 8),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    word.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes type information for a small `sk_buff` of the kernel's shape.
    struct Writer {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Writer {
        fn string(&mut self, text: &str) -> u32 {
            if text.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend(text.as_bytes());
            self.strings.push(0);
            at
        }

        fn words(&mut self, words: &[u32]) {
            self.types
                .extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }

        fn composite(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) {
            let name = self.string(name);
            self.words(&[name, 1 << 31 | kind << 24 | members.len() as u32, 64]);
            for (member, number, offset) in members {
                let member = self.string(member);
                self.words(&[member, *number, *offset]);
            }
        }

        fn finish(self) -> Vec<u8> {
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            let mut bytes = vec![0x9f, 0xeb, 1, 0];
            bytes.extend(
                [24, 0, types, types, strings]
                    .iter()
                    .flat_map(|word: &u32| word.to_le_bytes()),
            );
            bytes.extend(self.types);
            bytes.extend(self.strings);
            bytes
        }
    }

    fn small_kernel(ip_summed: u32) -> Vec<u8> {
        let mut writer = Writer {
            types: Vec::new(),
            strings: vec![0],
        };
        writer.words(&[0, 1 << 24, 4, 32]); // 1: an integer
        writer.words(&[0, 2 << 24, 1]); // 2: a pointer
        writer.composite(KIND_STRUCT, "", &[("csum_start", 1, 0), ("csum_offset", 1, 16)]); // 3
        writer.composite(KIND_UNION, "", &[("csum", 1, 0), ("", 3, 0)]); // 4
        writer.composite(
            KIND_STRUCT,
            "",
            &[("pkt_type", 1, 3 << 24), ("ip_summed", 1, ip_summed)],
        ); // 5
        writer.composite(
            KIND_STRUCT,
            "sk_buff",
            &[
                ("", 5, 64),
                ("", 4, 128),
                ("head", 2, 192),
                ("data", 2, 256),
                ("end", 1, 320),
            ],
        );
        let shared = [("gso_size", 1, 32), ("gso_type", 1, 192)];
        writer.composite(KIND_STRUCT, "skb_shared_info", &shared);
        writer.finish()
    }

    #[test]
    fn fields_are_found_inside_nameless_members() {
        let found = layout(&small_kernel(2 << 24 | 5)).unwrap();
        let expected = SkbLayout {
            ip_summed: 8,
            ip_summed_shift: 5,
            head: 24,
            data: 32,
            csum_start: 16,
            end: 40,
            gso_type: 24,
        };
        assert_eq!(
            found, expected,
            "a wrong offset would read another field as the checksum state"
        );
    }

    #[test]
    fn a_checksum_state_of_another_shape_is_refused() {
        for odd in [5, 3 << 24 | 5, 2 << 24 | 7] {
            assert!(
                matches!(
                    layout(&small_kernel(odd)),
                    Err(LayoutError::Field {
                        field: "ip_summed",
                        ..
                    })
                ),
                "a field that is not two bits in one byte must not be read as if it were: {odd:#x}"
            );
        }
    }

    #[test]
    fn no_truncation_and_no_flipped_byte_panics() {
        let whole = small_kernel(2 << 24 | 5);
        for end in 0..whole.len() {
            assert!(
                layout(&whole[..end]).is_err(),
                "a cut description was taken for a whole one at {end}"
            );
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let _ = layout(&bytes);
            }
        }
    }

    #[test]
    fn the_running_kernel_has_a_plausible_layout() {
        let found = running_layout().expect("this kernel must publish its types, the agent needs them");
        assert_eq!(
            found.data,
            found.head + 8,
            "head and data have been neighbours since 2.6: {found:?}"
        );
        assert!(found.ip_summed < 1024 && found.ip_summed_shift <= 6, "{found:?}");
        assert!(found.end < found.head, "`end` stands before `head`: {found:?}");
        assert!(
            (4..512).contains(&found.gso_type),
            "behind sizes, before fragments: {found:?}"
        );
    }
}
