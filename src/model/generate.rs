use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::provider::Watch;

use super::batch::Packed;
use super::decoder::{Decoder, Trace, linear, score_scale};
use super::error::ModelError;
use super::kernel::{self, Rotary};
use super::sampling::{Chooser, Sampling};
use super::weights::{Matrix, Weights};

/// Keys and values of one conversation so far, for one layer.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// One answer under way.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was said so far.
    pub tokens: Vec<u32>,
    /// How many tokens the model took in.
    pub position: usize,
    memories: Vec<Memory>,
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

/// Answers each prompt, up to the end token, the limit, or what the model holds, in order.
///
/// # Errors
/// When a prompt leaves no room in the model's context, or the watch says stop.
pub fn generate(weights: &Weights, prompts: &[Prompt], max_tokens: usize, end: u32, watch: &dyn Watch) -> Result<Vec<Generated>, ModelError> {
    let context = weights.architecture.context;
    if let Some((index, prompt)) = prompts.iter().enumerate().find(|(_, prompt)| prompt.tokens.len() >= context) {
        return Err(ModelError::NoRoom { index: index + 1, tokens: prompt.tokens.len(), limit: context });
    }
    let rotary = Rotary::new(&weights.architecture);
    let decoder = Decoder { weights, rotary: &rotary };
    let done = std::sync::atomic::AtomicU64::new(0);
    let answered = prompts.par_chunks(GROUP).map(|group| {
        if watch.stopped() {
            return Err(ModelError::Stopped);
        }
        let answers = decoder.answer(group, max_tokens, end);
        let so_far = done.fetch_add(group.len() as u64, std::sync::atomic::Ordering::Relaxed) + group.len() as u64;
        watch.progress(so_far, prompts.len() as u64, "answers", "");
        Ok(answers)
    });
    let groups: Vec<Vec<Generated>> = answered.collect::<Result<_, _>>()?;
    Ok(groups.into_iter().flatten().collect())
}

impl Decoder<'_> {
    fn answer(&self, prompts: &[Prompt], max_tokens: usize, end: u32) -> Vec<Generated> {
        let began = Instant::now();
        let (mut answers, mut logits) = self.read(prompts.iter().map(|prompt| prompt.tokens.as_slice()));
        let mut choosers: Vec<Chooser> = prompts.iter().map(|prompt| Chooser::new(prompt.sampling)).collect();
        let mut took = vec![Duration::ZERO; prompts.len()];
        let vocabulary = self.weights.architecture.vocabulary;
        for _ in 0..max_tokens {
            let open: Vec<usize> = (0..answers.len()).filter(|&index| !answers[index].finished).collect();
            for (&index, row) in open.iter().zip(logits.chunks_exact(vocabulary)) {
                let token = choosers[index].choose(row);
                if token == end {
                    answers[index].finished = true;
                } else {
                    answers[index].tokens.push(token);
                    answers[index].finished = answers[index].tokens.len() == max_tokens || answers[index].position >= self.weights.architecture.context;
                }
                took[index] = began.elapsed();
            }
            let open: Vec<&mut Answer> = answers.iter_mut().filter(|answer| !answer.finished).collect();
            if open.is_empty() {
                break;
            }
            logits = self.next(open);
        }
        answers.into_iter().zip(took).map(|(answer, took)| Generated { tokens: answer.tokens, took }).collect()
    }

    /// Reads the prompts, and gives the logits after each.
    pub fn read<'p>(&self, prompts: impl IntoIterator<Item = &'p [u32]>) -> (Vec<Answer>, Vec<f32>) {
        let a = self.weights.architecture;
        let packed = Packed::prompts(prompts);
        let mut trace = Trace::default();
        self.forward(&packed, &mut trace);
        let answers = packed.starts.windows(2).map(|sample| {
            let memory = |layer: &super::decoder::LayerTrace| {
                let rows = layer.qkv[sample[0] * 3 * a.width..sample[1] * 3 * a.width].chunks_exact(3 * a.width);
                let mut memory = Memory::default();
                for row in rows {
                    memory.keys.extend_from_slice(&row[a.width..2 * a.width]);
                    memory.values.extend_from_slice(&row[2 * a.width..]);
                }
                memory
            };
            let memories = trace.layers.iter().map(memory).collect();
            Answer { tokens: Vec::new(), position: sample[1] - sample[0], memories, finished: false }
        });
        let answers = answers.collect();
        let logits = self.logits(&trace, packed.starts[1..].iter().map(|end| end - 1));
        (answers, logits)
    }

    /// Takes each answer's last token in, and gives the logits after it.
    pub fn next(&self, mut answers: Vec<&mut Answer>) -> Vec<f32> {
        let (a, layout, rows) = (self.weights.architecture, self.weights.layout(), answers.len());
        let part = |range: std::ops::Range<usize>| &self.weights.values[range];
        let tokens: Vec<u32> = answers.iter().filter_map(|answer| answer.tokens.last().copied()).collect();
        let mut stream = Vec::new();
        self.embed(&tokens, &mut stream);
        let (mut normed, mut inverse) = (vec![0.0; rows * a.width], vec![0.0; rows]);
        let (mut qkv, mut attended) = (vec![0.0; rows * 3 * a.width], vec![0.0; rows * a.width]);
        let (mut gate_up, mut active) = (vec![0.0; rows * 2 * a.hidden], vec![0.0; rows * a.hidden]);
        for layer in 0..a.layers {
            kernel::norm(&mut normed, &mut inverse, &stream, part(layout.norm(layer, 0)));
            linear(&mut qkv, &normed, part(layout.attention_in(layer)), rows, a.width, false);
            for ((answer, row), out) in answers.iter_mut().zip(qkv.chunks_exact_mut(3 * a.width)).zip(attended.chunks_exact_mut(a.width)) {
                self.rotary.turn(&mut row[..2 * a.width], answer.position, 1.0);
                let memory = &mut answer.memories[layer];
                memory.keys.extend_from_slice(&row[a.width..2 * a.width]);
                memory.values.extend_from_slice(&row[2 * a.width..]);
                attend(&row[..a.width], memory, out, a.head_width(), score_scale(&a));
            }
            linear(&mut stream, &attended, part(layout.matrix(layer, Matrix::Output)), rows, a.width, true);
            kernel::norm(&mut normed, &mut inverse, &stream, part(layout.norm(layer, 1)));
            linear(&mut gate_up, &normed, part(layout.feed_in(layer)), rows, a.width, false);
            kernel::swiglu(&mut active, &gate_up, a.hidden);
            linear(&mut stream, &active, part(layout.matrix(layer, Matrix::Down)), rows, a.hidden, true);
        }
        for answer in answers {
            answer.position += 1;
        }
        kernel::norm(&mut normed, &mut inverse, &stream, part(layout.final_norm()));
        self.head(&normed)
    }
}

/// One row's attention over all that is remembered.
fn attend(query: &[f32], memory: &Memory, out: &mut [f32], head_width: usize, scale: f32) {
    let width = query.len();
    out.fill(0.0);
    let mut scores = Vec::new();
    for (head, (query, out)) in query.chunks_exact(head_width).zip(out.chunks_exact_mut(head_width)).enumerate() {
        let at = head * head_width;
        scores.clear();
        scores.extend(memory.keys.chunks_exact(width).map(|key| query.iter().zip(&key[at..at + head_width]).map(|(q, k)| q * k).sum::<f32>()));
        kernel::softmax(&mut scores, scale);
        for (share, value) in scores.iter().zip(memory.values.chunks_exact(width)) {
            for (o, v) in out.iter_mut().zip(&value[at..at + head_width]) {
                *o += share * v;
            }
        }
    }
}
