//! Real traffic, recorded in a laboratory by `pairgate-prove record` and kept as data beside this package.
use anyhow::{Context, Result, ensure};

/// A frame as some real machine sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes; of a frame on the underlay those behind the outer headers.
    pub inner: Vec<u8>,
}

/// First bytes of a file of frames: pcap's magic number for microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
/// pcap's link type for Ethernet.
const ETHERNET: u32 = 1;

/// The frames that lie beside this package.
pub fn corpus() -> Result<Vec<Frame>> {
    let frames = parse(include_bytes!("../../corpus/laboratory.pcap"))?;
    Ok(frames.into_iter().map(|inner| Frame { inner }).collect())
}

/// The frames of a pcap file in this machine's byte order.
pub fn parse(file: &[u8]) -> Result<Vec<Vec<u8>>> {
    let word = |at: usize| -> Result<u32> {
        let bytes = file.get(at..at + 4).context("the file of frames ends early")?;
        Ok(u32::from_le_bytes(bytes.try_into()?))
    };
    ensure!(
        word(0)? == MAGIC && word(20)? == ETHERNET,
        "not a pcap file of Ethernet frames"
    );
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let length = word(at + 8)? as usize;
        let frame = file.get(at + 16..at + 16 + length);
        frames.push(frame.context("the file of frames ends early")?.to_vec());
        at += 16 + length;
    }
    Ok(frames)
}

/// The same frames as a file, without their times: nothing is to be learned from those.
pub fn written(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [MAGIC, 4 << 16 | 2, 0, 0, 65_535, ETHERNET] {
        file.extend(word.to_le_bytes());
    }
    for frame in frames {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}
