//! A copy is opened again before it counts: it has to speak as the trained model does, and not as its base.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::data::{Message, Role};
use crate::model::error::ModelError;
use crate::model::files::load_adapter;
use crate::model::network::adapter::Fitted;
use crate::model::network::decoder::likely;
use crate::model::source::{folder, gguf};
use crate::model::tuned::Model;
use crate::provider::ModelHandle;

use super::ExportFormat;

/// What all of them are asked. What it says is all the same, as long as answers differ.
const PROBES: [&str; 4] = ["Hello, I need help with my order.", "Why?", "Sum it up in one word: the parcel came late and was wet.", "2 + 2 is"];

/// The chance of each token to be the first of the answer, to each probe.
type Views = Vec<Vec<f64>>;

fn views(model: &Model) -> Result<Views, ModelError> {
    let fitted = model.adapter().map(|adapter| Fitted::new(adapter, model.parameters()));
    let view = |(index, probe): (usize, &&str)| {
        let tokens =
            model.chat().prompt(&[Message::new(Role::User, (*probe).to_owned())]).map_err(|source| ModelError::Template { index: index + 1, source })?;
        let logits = likely(model.parameters(), fitted.as_ref(), &tokens);
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shares: Vec<f64> = logits.iter().map(|logit| f64::from(logit - most).exp()).collect();
        let sum: f64 = shares.iter().sum();
        Ok(shares.into_iter().map(|share| share / sum).collect())
    };
    PROBES.iter().enumerate().map(view).collect()
}

/// The largest part of the chances that two models spread otherwise: their total variation distance, from 0 to 1.
fn distance(a: &Views, b: &Views) -> f64 {
    let one = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        // Where vocabularies differ in length, what only one has counts in full.
        let both: f64 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
        let common = a.len().min(b.len());
        (both + a[common..].iter().chain(&b[common..]).sum::<f64>()) / 2.0
    };
    // A chance that is no number is as far away as can be.
    a.iter().zip(b).map(one).map(|far| if far.is_nan() { 1.0 } else { far }).fold(0.0, f64::max)
}

impl ExportFormat {
    /// How far a copy may be from its model for its precision alone.
    const fn slack(self) -> f64 {
        match self {
            Self::Peft | Self::Safetensors => 1e-3,
            Self::Gguf => 0.02,
            Self::SafetensorsBf16 | Self::GgufEight => 0.1,
        }
    }

    fn opened(self, place: &Path, model: &Model) -> Result<Model, ModelError> {
        match self {
            Self::Peft => {
                let file = |name: &str| {
                    let path = place.join(name);
                    let bytes = std::fs::read(&path).map_err(|error| ModelError::unreadable(&path, &error))?;
                    Ok((name.to_owned(), bytes))
                };
                let files: BTreeMap<String, Vec<u8>> = ["adapter_config.json", "adapter_model.safetensors"].into_iter().map(file).collect::<Result<_, _>>()?;
                Ok(model.with(load_adapter(*model.parameters().architecture, &files)?))
            }
            Self::Safetensors | Self::SafetensorsBf16 => Ok(Model::plain(Arc::new(folder::read(place, &folder::files(place)?)?))),
            Self::Gguf | Self::GgufEight => Ok(Model::plain(Arc::new(gguf::read(place)?))),
        }
    }

    /// Opens a written copy, and holds it to the model that it is one of: both say the same to a few probes, and not what the base says.
    ///
    /// # Errors
    /// When it cannot be opened, says something else, or nothing is left of what was learnt.
    pub fn prove(self, place: &Path, handle: &ModelHandle, workspace: &Path) -> Result<(), ModelError> {
        let model = Model::open(handle, workspace)?;
        let (ours, copy) = (views(&model)?, views(&self.opened(place, &model)?)?);
        let away = distance(&ours, &copy);
        if away > self.slack() {
            return Err(ModelError::OtherCopy { away, slack: self.slack() });
        }
        let Some(base) = model.untuned() else { return Ok(()) };
        let base = views(&base)?;
        let (learnt, left) = (distance(&ours, &base), distance(&copy, &base));
        match () {
            () if learnt <= 0.0 => Err(ModelError::NothingLearnt),
            () if left <= away => Err(ModelError::Lost { away, left }),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_shares_of_what_is_likely() {
        let (a, b) = (vec![vec![0.5, 0.5, 0.0]], vec![vec![0.5, 0.0, 0.5]]);
        assert!((distance(&a, &b) - 0.5).abs() < 1e-12 && distance(&a, &a) == 0.0);
        assert!((distance(&a, &vec![vec![0.5, 0.5, 0.0, 0.0]])).abs() < 1e-12);
        assert!((distance(&a, &vec![vec![f64::NAN, 0.5, 0.5]]) - 1.0).abs() < 1e-12);
    }
}
