//! How likely a model finds what others said.

use rayon::prelude::*;

use crate::data::{Example, Role, Tokenizer};
use crate::provider::{ModelHandle, ProviderError, Watch};

use super::batch::{Packed, samples};
use super::decoder::loss_with;
use super::error::ModelError;
use super::kernel::Rotary;
use super::local::weights;

/// The perplexity of the last answer of each example after all that stands before it: e to the mean loss of its tokens, its end among
/// them.
///
/// # Errors
/// When the model's files do not fit it, an example is too long or holds no answer, or the watch says stop.
pub fn perplexities(model: &ModelHandle, examples: &[Example], watch: &dyn Watch) -> Result<Vec<f64>, ProviderError> {
    let weights = weights(model)?;
    let last_alone = |example: &Example| {
        let mut messages = example.messages.clone();
        let last = messages.len().saturating_sub(1);
        for (at, message) in messages.iter_mut().enumerate() {
            message.learned = at == last && message.role == Role::Assistant;
        }
        Example::chat(messages)
    };
    let examples: Vec<Example> = examples.iter().map(last_alone).collect();
    let samples = samples(Tokenizer::tiny(), &examples, weights.architecture.context)?;
    let rotary = Rotary::new(&weights.architecture);
    let measured = samples.par_iter().map(|sample| {
        if watch.stopped() {
            return Err(ModelError::Stopped);
        }
        let (loss, tokens) = loss_with(&weights, &rotary, &Packed::new([sample]));
        #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
        Ok((loss / tokens.max(1) as f64).exp())
    });
    Ok(measured.collect::<Result<Vec<f64>, ModelError>>()?)
}
