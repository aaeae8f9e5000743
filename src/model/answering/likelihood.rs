//! How likely a model finds what others said.

use rayon::prelude::*;

use crate::data::{Example, Role};
use crate::model::error::ModelError;
use crate::model::local::LocalEngine;
use crate::model::network::adapter::Fitted;
use crate::model::network::decoder::Decoder;
use crate::model::network::rotary::Rotary;
use crate::model::source::fetch;
use crate::model::training::examples::lessons;
use crate::model::tuned::Model;
use crate::provider::{Longest, ModelHandle, Overflow, ProviderError, Taught, Watch};

impl LocalEngine {
    /// The perplexity of the last answer of each example after all that stands before it: e to the mean loss of its tokens, its end among
    /// them.
    ///
    /// # Errors
    /// When the model's files do not fit it, an example is too long or holds no answer, or the watch says stop.
    pub async fn perplexities(&self, model: &ModelHandle, examples: &[Example], watch: &dyn Watch) -> Result<Vec<f64>, ProviderError> {
        fetch(&model.card.base, self.workspace(), watch).await?;
        Ok(tokio::task::block_in_place(|| self.perplexities_here(model, examples, watch))?)
    }

    fn perplexities_here(&self, model: &ModelHandle, examples: &[Example], watch: &dyn Watch) -> Result<Vec<f64>, ModelError> {
        let model = Model::open(model, self.workspace())?;
        let parameters = model.parameters();
        let fitted = model.adapter().map(|adapter| Fitted::new(adapter, parameters));
        let last_alone = |example: &Example| {
            let mut messages = example.messages.clone();
            let last = messages.len().saturating_sub(1);
            for (at, message) in messages.iter_mut().enumerate() {
                message.learned = at == last && message.role == Role::Assistant;
            }
            Example::chat(messages)
        };
        let examples: Vec<Example> = examples.iter().map(last_alone).collect();
        let longest = Longest { tokens: parameters.architecture.context, overflow: Overflow::Error };
        let lessons = lessons(model.chat(), &examples, Taught::Answers, longest)?.lessons;
        let rotary = Rotary::new(parameters.architecture, lessons.longest());
        let decoder = Decoder::new(parameters, fitted.as_ref(), &rotary);
        let measured = (0..lessons.len()).into_par_iter().map(|index| {
            if watch.stopped() {
                return Err(ModelError::Stopped);
            }
            let (loss, tokens) = decoder.loss(&lessons.pack(&[index]));
            #[expect(clippy::cast_precision_loss, reason = "counts of tokens are far below 2^52")]
            Ok((loss / tokens.max(1) as f64).exp())
        });
        measured.collect()
    }
}
