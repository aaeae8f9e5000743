//! Answers, token by token, with the keys and values of what was said before at hand.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::model::error::ModelError;
use crate::model::network::adapter::Fitted;
use crate::model::network::attention::attend;
use crate::model::network::decoder::Decoder;
use crate::model::network::packed::Packed;
use crate::model::network::parameters::Parameters;
use crate::model::network::rotary::Rotary;
use crate::model::network::trace::{Buffers, LayerTrace};
use crate::provider::Watch;

use super::sampling::{Chooser, Sampling};
use super::thin::Thin;

/// Keys and values of one conversation so far, for one layer.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
}

/// One answer under way.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was said so far.
    pub tokens: Vec<u32>,
    /// How many tokens the model took in.
    pub position: usize,
    pub memories: Vec<Memory>,
    finished: bool,
}

/// Prompts that are answered together.
const GROUP: usize = 16;

/// What is to be answered.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The conversation so far.
    pub tokens: Vec<u32>,
    /// How the tokens of the answer are chosen.
    pub sampling: Sampling,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// What was said, without the end token.
    pub tokens: Vec<u32>,
    /// How long it took, beside up to 15 others.
    pub took: Duration,
}

/// Answers each prompt, up to one of the end tokens, the limit, or what the model holds, in order.
///
/// # Errors
/// When a prompt leaves no room in the model's context, or the watch says stop.
pub fn generate<'a>(
    parameters: impl Into<Parameters<'a>>,
    adapter: Option<&Fitted<'_>>,
    prompts: &[Prompt],
    max_tokens: usize,
    ends: &[u32],
    watch: &dyn Watch,
) -> Result<Vec<Generated>, ModelError> {
    let parameters = parameters.into();
    let context = parameters.architecture.context;
    if let Some((index, prompt)) = prompts.iter().enumerate().find(|(_, prompt)| prompt.tokens.len() >= context || prompt.tokens.is_empty()) {
        return Err(ModelError::NoRoom { index: index + 1, tokens: prompt.tokens.len(), limit: context });
    }
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
    let rotary = Rotary::new(parameters.architecture, longest + max_tokens);
    let decoder = Decoder::new(parameters, adapter, &rotary);
    let done = std::sync::atomic::AtomicU64::new(0);
    let answered = prompts.par_chunks(GROUP).map(|group| {
        if watch.stopped() {
            return Err(ModelError::Stopped);
        }
        let answers = decoder.answer(group, max_tokens, ends);
        let so_far = done.fetch_add(group.len() as u64, std::sync::atomic::Ordering::Relaxed) + group.len() as u64;
        watch.progress(so_far, prompts.len() as u64, "answers", "");
        Ok(answers)
    });
    let groups: Vec<Vec<Generated>> = answered.collect::<Result<_, _>>()?;
    Ok(groups.into_iter().flatten().collect())
}

impl Decoder<'_> {
    fn answer(&self, prompts: &[Prompt], max_tokens: usize, ends: &[u32]) -> Vec<Generated> {
        let began = Instant::now();
        let (mut answers, mut logits) = self.read(prompts.iter().map(|prompt| prompt.tokens.as_slice()));
        let mut choosers: Vec<Chooser> = prompts.iter().map(|prompt| Chooser::new(prompt.sampling)).collect();
        let mut took = vec![Duration::ZERO; prompts.len()];
        let (a, mut thin) = (self.architecture(), Thin::default());
        for _ in 0..max_tokens {
            let open: Vec<usize> = (0..answers.len()).filter(|&index| !answers[index].finished).collect();
            for (&index, row) in open.iter().zip(logits.chunks_exact(a.vocabulary)) {
                let token = choosers[index].choose(row);
                if ends.contains(&token) {
                    answers[index].finished = true;
                } else {
                    answers[index].tokens.push(token);
                    answers[index].finished = answers[index].tokens.len() == max_tokens || answers[index].position >= a.context;
                }
                took[index] = began.elapsed();
            }
            let open: Vec<&mut Answer> = answers.iter_mut().filter(|answer| !answer.finished).collect();
            if open.is_empty() {
                break;
            }
            logits = self.next(open, &mut thin);
        }
        answers.into_iter().zip(took).map(|(answer, took)| Generated { tokens: answer.tokens, took }).collect()
    }

    /// Reads the prompts, and gives the logits after each.
    pub fn read<'p>(&self, prompts: impl IntoIterator<Item = &'p [u32]>) -> (Vec<Answer>, Vec<f32>) {
        let a = self.architecture();
        let packed = Packed::prompts(prompts);
        let samples = || packed.starts.windows(2);
        let answer =
            |sample: &[usize]| Answer { tokens: Vec::new(), position: sample[1] - sample[0], memories: vec![Memory::default(); a.layers], finished: false };
        let mut answers: Vec<Answer> = samples().map(answer).collect();
        let (mut stream, mut trace, mut buffers) = (Vec::new(), LayerTrace::default(), Buffers::default());
        self.embed(&packed.tokens, &mut stream);
        let (keys, values) = (a.query_width(), a.query_width() + a.key_width());
        for layer in 0..a.layers {
            self.layer(layer, &packed.starts, &mut stream, &mut trace, &mut buffers);
            for (answer, sample) in answers.iter_mut().zip(samples()) {
                let memory = &mut answer.memories[layer];
                for row in trace.qkv[sample[0] * a.attention_width()..sample[1] * a.attention_width()].chunks_exact(a.attention_width()) {
                    memory.keys.extend_from_slice(&row[keys..values]);
                    memory.values.extend_from_slice(&row[values..]);
                }
            }
        }
        let last: Vec<f32> = packed.starts[1..].iter().flat_map(|end| &stream[(end - 1) * a.width..end * a.width]).copied().collect();
        (answers, self.head_of_stream(&last))
    }
}

/// One row's attention over what is remembered, as far back as the layer sees.
pub fn attend_to(decoder: &Decoder<'_>, layer: usize, query: &[f32], memory: &Memory, out: &mut [f32], scores: &mut Vec<f32>) {
    let a = decoder.architecture();
    let rows = memory.keys.len() / a.key_width();
    let from = a.window(layer).map_or(0, |window| rows.saturating_sub(window)) * a.key_width();
    attend(a, query, (&memory.keys[from..], &memory.values[from..]), out, scores);
}
