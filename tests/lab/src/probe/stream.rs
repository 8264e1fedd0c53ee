//! TCP with every byte compared.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Sends every byte back that it gets; one connection after the other, until dropped.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

/// How often a waiting server looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A connection that says nothing for so long is over.
const SILENCE: Duration = Duration::from_secs(5);

impl EchoServer {
    /// Listens on a free port; call inside the namespace.
    pub fn start(at: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((at, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let worker = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A broken connection is the client's to report.
                    Ok((stream, _)) => drop(echo(stream)),
                    Err(_) => std::thread::sleep(LOOK_EVERY),
                }
            }
        });
        Ok(Self {
            address,
            stop,
            worker: Some(worker),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}

/// Sends `len` bytes to an echo server, as fast as the way takes them, and returns how many came back as they
/// went; call inside the namespace. An error if the connection cannot be made or breaks within `patience`.
pub fn exchange(with: SocketAddr, len: usize, patience: Duration) -> io::Result<usize> {
    let mut stream = TcpStream::connect_timeout(&with, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for start in (0..len).step_by(STEP) {
                let bytes: Vec<u8> = (start..len.min(start + STEP)).map(byte).collect();
                writer.write_all(&bytes)?;
            }
            Ok::<_, io::Error>(())
        });
        let mut same = 0;
        let mut back = vec![0; STEP];
        for start in (0..len).step_by(STEP) {
            let back = &mut back[..STEP.min(len - start)];
            stream.read_exact(back)?;
            same += (start..).zip(back).filter(|(at, got)| byte(*at) == **got).count();
        }
        writing
            .join()
            .map_err(|_| io::Error::other("the writer of a stream panicked"))??;
        Ok(same)
    })
}

/// What is written at a time: more than one big packet.
const STEP: usize = 256 * 1024;

/// A pattern with a period that divides no packet size.
fn byte(position: usize) -> u8 {
    (position % 251) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let server = EchoServer::start(IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!(
            exchange(server.address(), 100_000, Duration::from_secs(5)).unwrap(),
            100_000
        );
    }
}
