//! Sweeps: not a choice of packets, but every one of a kind.
