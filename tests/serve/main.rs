//! `retune serve`: real requests over loopback, to models here and to a provider that misbehaves.

#[path = "../common/mod.rs"]
mod common;
mod door;
mod gateway;
mod local;
mod trials;
mod tuning;
mod upstream;
