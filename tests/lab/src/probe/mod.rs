//! What tests and demo use to look at a running laboratory: echoes, streams, floods, raw frames, sniffers.
//!
//! A socket belongs to the network namespace of the thread that *makes* it and may be used from any other.
//! So everything here is made by a call inside [`Netns::run`](crate::netns::Netns::run) and used wherever it suits. Nothing here needs
//! a program of the machine: a fresh one has no `ping`. Every wait has an end.

pub mod cli;
mod datagrams;
mod dropper;
mod echo;
mod flood;
pub mod forge;
mod frames;
mod load;
mod stream;

pub use datagrams::{Burst, Catcher, Caught, Pace, send_numbered};
pub use dropper::Dropper;
pub use echo::{Echoes, ping};
pub use flood::{Flood, FloodReport};
pub use frames::{Frame, RawSender, Sniffer};
pub use load::{Hail, Sink, ask, keep_to, pour};
pub use stream::{EchoServer, exchange};
