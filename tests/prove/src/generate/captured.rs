//! Real traffic, recorded in a laboratory by `pairgate-prove record` and kept as data beside this package.
use crate::world::{Link, content};
use anyhow::{Context, Result, ensure};
use pairgate_abi::GATEWAY_MAC;

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
    Ok(frames
        .into_iter()
        .map(|frame| Frame { inner: inside(frame) })
        .collect())
}

/// A frame without the headers of the underlay, where it has them, as if the first guest had sent it.
fn inside(mut frame: Vec<u8>) -> Vec<u8> {
    let port = content::PORT.to_be_bytes();
    let outer = match (frame.get(12..14), frame.get(23), frame.get(20)) {
        (Some([0x08, 0x00]), Some(17), _) if frame.get(36..38) == Some(&port) => 50,
        (Some([0x86, 0xdd]), _, Some(17)) if frame.get(56..58) == Some(&port) => 70,
        _ => 0,
    };
    if frame.len() >= outer + 14 {
        frame.drain(..outer);
    }
    // As the first guest would have sent it: its own MAC address, to the gateway or to a group.
    if let Some(header) = frame.first_chunk_mut::<12>() {
        header[6..].copy_from_slice(&content::mac(Link::Guest));
        if header[0] & 1 == 0 {
            header[..6].copy_from_slice(&GATEWAY_MAC);
        }
    }
    if frame.get(12..14) == Some(&[0x08, 0x06])
        && let Some(sender) = frame.get_mut(22..28)
    {
        sender.copy_from_slice(&content::mac(Link::Guest));
    }
    frame
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
