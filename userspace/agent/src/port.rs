//! The overlay's UDP port. The programs take our frames before any socket sees them; what is left over must
//! not fall into another program's hands, nor must another overlay lose frames to us. So the agent holds the
//! port while it lives.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

/// The port, held.
#[derive(Debug)]
pub struct OverlayPort {
    _socket: UdpSocket,
}

/// Why the port is not ours.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(
        "UDP port {port} is in use by {owner}; stop that, or give this host another overlay port in its record"
    )]
    Taken { port: u16, owner: String },
    #[error("cannot hold UDP port {port} at {address}: {source}")]
    Io {
        address: IpAddr,
        port: u16,
        source: io::Error,
    },
}

impl OverlayPort {
    pub fn hold(address: IpAddr, port: u16) -> Result<Self, PortError> {
        match UdpSocket::bind(SocketAddr::new(address, port)) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(PortError::Taken {
                port,
                owner: owner(port).unwrap_or_else(|| "the kernel (a VXLAN interface?)".to_owned()),
            }),
            Err(source) => Err(PortError::Io {
                address,
                port,
                source,
            }),
        }
    }
}

/// The program that has a socket on this port, by the kernel's list of sockets and each program's open files.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .find_map(|list| inode_of(&fs::read_to_string(list).ok()?, port))?;
    let socket = format!("socket:[{inode}]");
    let programs = fs::read_dir("/proc").ok()?.flatten();
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let mut programs = programs.filter(|entry| {
        if !is_process(&entry.file_name()) {
            return false;
        }
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten();
        files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()))
    });
    let program = programs.next()?;
    let name = fs::read_to_string(program.path().join("comm")).ok()?;
    Some(format!(
        "{} (process {})",
        name.trim_end().escape_debug(),
        program.file_name().to_string_lossy()
    ))
}

/// Lines are `sl local_address rem_address st queues tr:tm retrnsmt uid timeout inode …`, addresses end in
/// `:PORT` in hexadecimal.
fn inode_of(list: &str, port: u16) -> Option<u64> {
    let ending = format!(":{port:04X}");
    list.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let inode = fields.nth(7)?.parse().ok()?;
        (local.ends_with(&ending) && inode != 0).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_and_its_owner_named() {
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = other.local_addr().unwrap();
        let error = OverlayPort::hold(at.ip(), at.port()).unwrap_err();
        let own = std::process::id().to_string();
        assert!(error.to_string().contains(&own), "{error}");
        drop(other);
        assert!(OverlayPort::hold(at.ip(), at.port()).is_ok());
    }
}
