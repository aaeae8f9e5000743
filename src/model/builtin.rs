//! The model that comes with the program.

use std::sync::LazyLock;

use crate::data::TINY_MERGES;
use crate::fingerprint::Digest;
use crate::model::error::ModelError;
use crate::model::files::load_weights;
use crate::model::network::architecture::Architecture;
use crate::model::network::weights::Weights;

/// Its name.
pub const TINY: &str = "builtin:tiny";

/// Its sizes: 2.2 million parameters.
pub const TINY_ARCHITECTURE: Architecture = Architecture::small(2048, 192, 4, 6, 512, 1024);

/// Its weights, made by `pipelines/tiny-base.kdl`; see `docs/tiny.md`.
static TINY_FILE: &[u8] = include_bytes!("tiny.safetensors");

static TINY_DIGEST: LazyLock<Digest> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new_derive_key("retune builtin model v1");
    hasher.update(TINY_FILE);
    hasher.update(TINY_MERGES.as_bytes());
    hasher.finalize().into()
});

/// Its weights.
pub fn tiny() -> Result<Weights, ModelError> {
    load_weights(TINY_ARCHITECTURE, &[TINY_FILE])
}

/// The identity of a model that comes with the program: its weights and its tokenizer.
#[must_use]
pub fn builtin_digest(name: &str) -> Option<Digest> {
    (name == TINY).then(|| *TINY_DIGEST)
}
