//! What a client asks for when it makes a job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{LEARNING_RATE, TINY};
use crate::provider::Hyperparameters;
use crate::provider::Lora;
use crate::serve::refusal::Refusal;

/// The size of the adapter, which OpenAI's API has no word for.
const LORA: Lora = Lora::plain(8, 16.0);

/// A job as it is asked for. What OpenAI's API has beyond that is refused by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub model: String,
    pub training_file: String,
    #[serde(default)]
    pub validation_file: Option<String>,
    #[serde(default)]
    pub suffix: Option<String>,
    #[serde(default)]
    pub seed: Option<i64>,
    #[serde(default)]
    hyperparameters: Option<Sizes>,
    #[serde(default)]
    method: Option<Method>,
    #[serde(default)]
    integrations: Option<Vec<Value>>,
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    r#type: String,
    #[serde(default)]
    supervised: Option<Supervised>,
    /// Known by name, and refused.
    #[serde(default)]
    dpo: Option<Value>,
    #[serde(default)]
    reinforcement: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Supervised {
    #[serde(default)]
    hyperparameters: Option<Sizes>,
}

/// The sizes that may be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sizes {
    n_epochs: Auto<u32>,
    batch_size: Auto<u32>,
    learning_rate_multiplier: Auto<f64>,
}

/// A number, or that whoever does it chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Auto<T> {
    #[default]
    Auto,
    Is(T),
}

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Is(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Auto<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_null() || value == "auto" {
            return Ok(Self::Auto);
        }
        serde_json::from_value(value).map(Self::Is).map_err(serde::de::Error::custom)
    }
}

impl Wanted {
    /// The sizes that it asks for, where all of it can be done here.
    ///
    /// # Errors
    /// When something of it cannot.
    pub fn sizes(&self) -> Result<Sizes, Refusal> {
        if self.model != TINY {
            return Err(Refusal::wrong("model", format!("`{}` cannot be tuned here; `{TINY}` can", self.model)));
        }
        if self.integrations.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Refusal::wrong("integrations", "jobs here are reported to nobody else"));
        }
        if let Some(method) = self.method.as_ref().filter(|method| method.r#type != "supervised" || method.dpo.is_some() || method.reinforcement.is_some()) {
            return Err(Refusal::wrong("method", format!("the method `{}` is not known here; `supervised` is", method.r#type)));
        }
        if self.suffix.as_ref().is_some_and(|suffix| suffix.is_empty() || suffix.chars().count() > 64) {
            return Err(Refusal::wrong("suffix", "`suffix` has from 1 to 64 characters"));
        }
        let is_small = |(name, value): (&String, &String)| name.chars().count() <= 64 && value.chars().count() <= 512;
        if self.metadata.as_ref().is_some_and(|metadata| metadata.len() > 16 || !metadata.iter().all(is_small)) {
            return Err(Refusal::wrong("metadata", "`metadata` has at most 16 pairs, of names of 64 and values of 512 characters"));
        }
        let of_method = self.method.as_ref().and_then(|method| method.supervised.as_ref()?.hyperparameters);
        let sizes = of_method.or(self.hyperparameters).unwrap_or_default();
        let within = |name: &str, value: Auto<u32>, most: u32| match value {
            Auto::Is(value) if !(1..=most).contains(&value) => Err(Refusal::wrong("hyperparameters", format!("`{name}` is from 1 to {most}, and not {value}"))),
            _ => Ok(()),
        };
        within("n_epochs", sizes.n_epochs, 50)?;
        within("batch_size", sizes.batch_size, 256)?;
        match sizes.learning_rate_multiplier {
            Auto::Is(times) if !(times > 0.0 && times.is_finite()) => Err(Refusal::wrong("hyperparameters", "`learning_rate_multiplier` is above 0")),
            _ => Ok(sizes),
        }
    }
}

impl Sizes {
    /// As the local engine wants them.
    pub fn hyperparameters(&self, seed: i64) -> Hyperparameters {
        let whole = |value: Auto<u32>| if let Auto::Is(value) = value { Some(value as usize) } else { None };
        let rate = if let Auto::Is(times) = self.learning_rate_multiplier { Some(times * LEARNING_RATE) } else { None };
        Hyperparameters {
            epochs: whole(self.n_epochs),
            batch_size: whole(self.batch_size),
            learning_rate: rate,
            lora: Some(LORA),
            seed: seed.cast_unsigned(),
            ..Hyperparameters::default()
        }
    }
}
