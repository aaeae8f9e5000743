use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// What tells two rows or examples apart while they are in memory: 128 bits of a hash (XXH3), so that a chance collision does not
/// happen in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(u128);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Identity {
    /// All of it.
    pub(super) const fn bits(self) -> u128 {
        self.0
    }
}

/// Things by identity. It is a hash already, and is not hashed again.
pub type ByIdentity<T> = HashMap<Identity, T, BuildHasherDefault<Prefix>>;

/// An identity that is being made of parts, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identifying(u128);

impl Identifying {
    /// Adds a part.
    #[expect(clippy::cast_possible_truncation, reason = "both halves go on")]
    pub fn part(&mut self, text: &str) {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        // The parts before are in the seed, and once more in what is added, so that all 128 bits of them count.
        self.0 = xxh3_128_with_seed(text.as_bytes(), low).wrapping_add(u128::from(high ^ low.rotate_left(32)) * ODD);
    }

    /// The identity of all parts.
    #[must_use]
    pub const fn end(self) -> Identity {
        Identity(self.0)
    }
}

const ODD: u128 = 0x9e37_79b9_7f4a_7c15;

/// Takes the lower bits of an identity for its hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, identity: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is one")]
        let half = identity as u64;
        self.0 = half;
    }
}
