//! What the local engine does in a second, for `benches/local.py`: `local_speed WHAT [MODEL]` prints one line of JSON.

use std::path::Path;
use std::time::{Duration, Instant};

use retune::data::{Message, Role};
use retune::model::{
    Architecture, Base, Lessons, LoraShape, Matrix, Prompt, Random, Recorded, Sample, Sampling, Targets, Tuning, TuningMethod, Weights, base, generate, tune,
};
use retune::provider::{Silent, Watch};
use serde_json::json;

/// Remembers when each step ended.
#[derive(Default)]
struct Clock(std::sync::Mutex<Vec<Instant>>);

impl Watch for Clock {
    fn progress(&self, _: u64, _: u64, _: &str, _: &str) {
        self.0.lock().expect("nobody panics").push(Instant::now());
    }

    fn note(&self, _: &str) {}

    fn stopped(&self) -> bool {
        false
    }
}

impl Clock {
    /// The median of the times between two steps.
    fn step(&self) -> f64 {
        let ends = self.0.lock().expect("nobody panics");
        let mut steps: Vec<f64> = ends.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()).collect();
        steps.sort_by(f64::total_cmp);
        steps[steps.len() / 2]
    }
}

fn samples(vocabulary: usize, count: usize, length: usize) -> Lessons {
    let mut random = Random::new(1, "speed");
    let tokens = |random: &mut Random| (0..length).map(|_| u32::try_from(random.below(vocabulary)).expect("a token")).collect();
    Lessons::Say((0..count).map(|_| Sample { tokens: tokens(&mut random), learned: vec![true; length] }).collect())
}

/// The most memory that was ever in use, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Adapters of rank 8 on queries and values, four rows of 128 tokens a step.
fn lora(base: &Base, steps: usize) -> serde_json::Value {
    let shape = LoraShape { targets: Targets::of([Matrix::Query, Matrix::Value]), ..LoraShape::plain(8, 16.0) };
    let (clock, train) = (Clock::default(), samples(base.architecture.vocabulary, 4 * steps, 128));
    tune(
        base.parameters().expect("it has weights"),
        &train,
        &Lessons::Say(Vec::new()),
        &Tuning::plain(TuningMethod::Lora(shape), 1, 4, 1e-4),
        Recorded::default(),
        None,
        &clock,
    )
    .expect("it learns");
    json!({ "seconds": clock.step(), "bytes": peak() })
}

/// A decoder of 1.8 million parameters from random weights, 16 rows of 128 tokens a step.
fn scratch(steps: usize) -> serde_json::Value {
    let start = Weights::random(Architecture::small(2048, 192, 3, 6, 512, 256), 1);
    let (clock, train) = (Clock::default(), samples(2048, 16 * steps, 128));
    tune(&start, &train, &Lessons::Say(Vec::new()), &Tuning::plain(TuningMethod::Full, 1, 16, 1e-3), Recorded::default(), None, &clock).expect("it learns");
    json!({ "tokens": 16.0 * 128.0 / clock.step() })
}

/// So many answers of 64 tokens to prompts of 32, together.
fn answers(base: &Base, count: usize) -> serde_json::Value {
    let Lessons::Say(samples) = samples(base.architecture.vocabulary, count, 32) else { return json!({}) };
    let prompts: Vec<Prompt> = samples.into_iter().map(|sample| Prompt { tokens: sample.tokens, sampling: Sampling::at(0.0) }).collect();
    let took = |tokens: usize| -> Duration {
        let began = Instant::now();
        generate(base.parameters().expect("it has weights"), None, &prompts, tokens, &[], &Silent).expect("there is room");
        began.elapsed()
    };
    let (first, all) = (took(1), took(65));
    json!({ "tokens": 64.0 * count as f64 / (all - first).as_secs_f64(), "first": first.as_secs_f64() })
}

/// From nothing to the first token of an answer of `builtin:tiny`, in a process that has just begun.
fn start() -> serde_json::Value {
    let began = Instant::now();
    let base = base("builtin:tiny", Path::new("")).expect("it is built in");
    let tokens = base.chat.prompt(&[Message::new(Role::User, "where is my card?".into())]).expect("a prompt");
    let prompt = Prompt { tokens, sampling: Sampling::at(0.0) };
    generate(base.parameters().expect("it has weights"), None, &[prompt], 1, &[], &Silent).expect("there is room");
    json!({ "seconds": began.elapsed().as_secs_f64() })
}

#[expect(clippy::print_stdout, reason = "it is read by a script")]
fn main() {
    let words: Vec<String> = std::env::args().collect();
    let model = || base(words.get(2).map_or("builtin:tiny", String::as_str), Path::new("")).expect("a model");
    let found = match words.get(1).map(String::as_str) {
        Some("lora") => lora(&model(), 8),
        Some("scratch") => scratch(30),
        Some("answer") => answers(&model(), 1),
        Some("answers") => answers(&model(), 16),
        Some("start") => start(),
        _ => json!({ "error": "lora, scratch, answer, answers or start" }),
    };
    println!("{found}");
}
