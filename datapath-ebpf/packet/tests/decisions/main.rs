//! The decisions on frames in memory: what holds for any frame, and that every reason can be given.
mod answers;
mod arrivals;
mod early;
mod errors;
mod honest;
mod neighbours;
mod outers;
mod properties;
mod questions;
mod reasons;
mod tables;
mod transport;
