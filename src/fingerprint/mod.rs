//! What a result depends on, as a typed tree; its hash is the action key, and the difference of two
//! such trees is the whole explanation of why something runs again.

mod digest;
mod explain;
mod file;
mod map;
mod merkle;
mod preimage;
mod settings;

pub use digest::{ActionKey, BadDigest, Digest};
pub use explain::{Change, explain};
pub use merkle::merkle;
pub use preimage::{ActionBase, Content, Leaf, Preimage, Tree};
pub use settings::{settings, settings_of};
