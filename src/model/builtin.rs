use std::sync::LazyLock;

use crate::data::TINY_MERGES;
use crate::fingerprint::Digest;

use super::architecture::Architecture;
use super::error::ModelError;
use super::files::load_weights;
use super::weights::Weights;

/// The name of the model that comes with the program.
pub const TINY: &str = "builtin:tiny";

/// Its sizes: 2.2 million parameters.
pub const TINY_ARCHITECTURE: Architecture = Architecture { vocabulary: 2048, width: 192, layers: 4, heads: 6, hidden: 512, context: 1024 };

/// Its weights, made by `examples/tiny_base.rs`; see `docs/tiny.md`.
static TINY_FILE: &[u8] = include_bytes!("tiny.safetensors");

static TINY_WEIGHTS: LazyLock<Result<Weights, String>> = LazyLock::new(|| load_weights(TINY_ARCHITECTURE, TINY_FILE).map_err(|error| error.to_string()));

static TINY_DIGEST: LazyLock<Digest> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new_derive_key("retune builtin model v1");
    hasher.update(TINY_FILE);
    hasher.update(TINY_MERGES.as_bytes());
    hasher.finalize().into()
});

/// The weights of a base model of the local engine.
///
/// # Errors
/// When there is no such model.
pub fn base(name: &str) -> Result<&'static Weights, ModelError> {
    if name != TINY {
        return Err(ModelError::Unknown { name: name.to_owned() });
    }
    TINY_WEIGHTS.as_ref().map_err(|problem| ModelError::Misfit { problem: problem.clone() })
}

/// The identity of a base model of the local engine: its weights and its tokenizer.
///
/// # Errors
/// When there is no such model.
pub fn builtin_digest(name: &str) -> Result<Digest, ModelError> {
    if name == TINY { Ok(*TINY_DIGEST) } else { Err(ModelError::Unknown { name: name.to_owned() }) }
}
