//! What trainers of open weights have in common.

use super::draft::{Draft, number};
use super::reading::Reading;

/// The settings of a training, wherever a tool has them.
#[derive(Debug, Default)]
pub struct Method {
    pub name: &'static str,
    pub epochs: Option<f64>,
    pub batch: Option<f64>,
    pub rate: Option<f64>,
    pub warmup: Option<f64>,
    pub decay: Option<&'static str>,
    pub weight_decay: Option<f64>,
    pub clip: Option<f64>,
    pub lora: Option<Lora>,
    pub max_length: Option<f64>,
    pub beta: Option<f64>,
    pub checkpointing: Option<bool>,
    pub on_inputs: Option<bool>,
}

/// An adapter.
#[derive(Debug)]
pub struct Lora {
    pub rank: Option<f64>,
    pub alpha: Option<f64>,
    pub dropout: Option<f64>,
    pub kind: Option<&'static str>,
    pub targets: Vec<String>,
}

/// The matrices that may get an adapter.
const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

impl Method {
    pub fn write(&self, draft: &mut Draft) {
        draft.open("method", &[self.name], |draft| {
            let whole = |value: Option<f64>| value.filter(|value| value.fract() == 0.0 && *value >= 1.0);
            match whole(self.epochs) {
                Some(epochs) => draft.raw(&format!("epochs {}", number(epochs))),
                None => {
                    if let Some(epochs) = self.epochs {
                        draft.comment(&format!("it was {epochs}: passes are whole here"));
                    }
                    draft.raw(&format!("epochs {}", number(self.epochs.unwrap_or(1.0).ceil().max(1.0))));
                }
            }
            let mut line = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    draft.raw(&format!("{name} {value}"));
                }
            };
            line("batch-size", whole(self.batch).map(number));
            line("learning-rate", self.rate.filter(|rate| *rate > 0.0 && *rate <= 1.0).map(number));
            line("warmup", self.warmup.filter(|share| (0.0..=1.0).contains(share)).map(number));
            line("decay", self.decay.map(|decay| format!("\"{decay}\"")));
            line("weight-decay", self.weight_decay.filter(|rate| (0.0..=1.0).contains(rate)).map(number));
            line("clip", self.clip.filter(|clip| *clip > 0.0).map(number));
            line("max-length", whole(self.max_length).filter(|most| *most >= 2.0).map(|most| format!("tokens={}", number(most))));
            line("beta", self.beta.filter(|beta| *beta > 0.0).map(number));
            line("gradient-checkpointing", self.checkpointing.filter(|is| *is).map(|_| String::new()));
            line("train-on-inputs", self.on_inputs.filter(|is| *is).map(|_| String::new()));
            if let Some(lora) = &self.lora {
                lora.write(draft);
            }
        });
    }
}

impl Lora {
    fn write(&self, draft: &mut Draft) {
        let mut text = String::from("lora");
        for (name, value) in [("rank", self.rank), ("alpha", self.alpha), ("dropout", self.dropout.filter(|dropout| *dropout > 0.0))] {
            if let Some(value) = value {
                text += &format!(" {name}={}", number(value));
            }
        }
        if let Some(kind) = self.kind {
            text += &format!(" kind=\"{kind}\"");
        }
        draft.raw(&text);
        let known: Vec<&str> = self.targets.iter().map(String::as_str).filter(|target| TARGETS.contains(target)).collect();
        if !known.is_empty() && known.len() < TARGETS.len() {
            draft.node("targets", &known);
        }
    }
}

/// A curve of the learning rate by the name that Hugging Face's trainer gives it.
pub fn decay(reading: &Reading, pointer: &str) -> Option<&'static str> {
    let known = [("cosine", "cosine"), ("linear", "linear"), ("constant", "constant"), ("constant_with_warmup", "constant")];
    let name = reading.look(pointer)?.as_str()?;
    let (_, ours) = known.into_iter().find(|(theirs, _)| *theirs == name)?;
    reading.take(pointer)?;
    Some(ours)
}

/// The rows of one step: those on a device, times the steps that add up.
pub fn batch(reading: &Reading, on_a_device: &str, adding_up: &str) -> Option<f64> {
    let rows = reading.number(on_a_device);
    let steps = reading.number(adding_up);
    rows.or(steps).map(|_| rows.unwrap_or(1.0) * steps.unwrap_or(1.0))
}

/// A model of the hub, or a folder. A hub's model needs its commit here, which nobody but the hub knows.
pub fn model(draft: &mut Draft, written: &str) {
    if written.starts_with(['.', '/']) || written.matches('/').count() != 1 {
        draft.node("model", &[written.trim_start_matches("./").trim_start_matches('/')]);
        return;
    }
    draft.comment(&format!("`{written}` of the hub. Take it by the commit that you mean: model \"hf:{written}@COMMIT\"; or name its folder here:"));
    draft.node("model", &[&format!("models/{}", super::draft::name(written))]);
}
