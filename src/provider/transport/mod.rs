//! Requests and replies: the key, the pace, another attempt where the protocol allows one, and the tape.

mod download;
mod header;
pub mod http;
mod hub;
mod network;
mod onward;
mod pace;
pub mod retry;
mod sending;
mod tape;

pub use download::{Download, DownloadError, download};
pub use http::{Client, Request, TooSoon, web};
pub use hub::hub;
pub use network::{Network, Profile, today};
pub use onward::{Onward, Passed, Reply};
pub use pace::{Limits, Pace};
pub use retry::{Repeat, printable};
pub use sending::FilePart;
pub use tape::Tape;
