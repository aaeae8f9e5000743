//! Makes `builtin:tiny`: writes texts of its own by a seeded grammar, learns a tokenizer from them, and
//! trains the model on them from random weights. `just tiny-base` runs it; the same seed gives the same files
//! on one kind of CPU.

use std::path::Path;

use retune::data::{Example, Message, Role, Tokenizer, learn_merges, merges_to_text};
use retune::model::{Lessons, Random, Recorded, Sample, TINY_ARCHITECTURE, Tuning, TuningMethod, Weights, save_weights, tune};
use retune::provider::Watch;

const SEED: u64 = 2027;
const TOPICS: &str = include_str!("topics.txt");
const WORDS: &str = include_str!("words.txt");

const FRAMES: &[&str] = &[
    "my {n} is {a} and i need help with the {n}",
    "how do i {v} my {n}?",
    "the {n} does not {v} any more",
    "I have a question about the {n} and the {n}.",
    "why is there a {n} on my {n}",
    "can you {v} the {n} for me please",
    "Is it possible to {v} a {n} without the {n}?",
    "what is the {n} for",
    "yesterday the {n} was {a}, today the {n} is {a}",
    "i did not {v} this {n}",
    "where can i find the {n}?",
    "please tell me about {n}",
    "We want to {v} our {n}, who can help?",
    "the {n} says {n} but my {n} is {a}",
    "i still have not got my {n}",
    "there is something wrong with the {n}",
    "Somebody told me to {v} the {n}, is that right?",
    "are there limits to the {n}",
    "when will the {n} {v}?",
    "it looks like my {n} is missing from the {n}",
    "i was asked for a {n} and a {n}",
    "do you support {n} and {n}?",
    "A {n} is a kind of thing that people {v}.",
    "every {n} has a {n}",
    "how long does it take for a {n} to {v}",
    "what should i do if my {n} is {a}",
    "which {n} do you {v}",
    "my {n} did not work with the {n}",
];
const VERBS: &[&str] = &[
    "use", "change", "get", "cancel", "open", "close", "send", "check", "fix", "order", "add", "remove", "find", "see", "move", "keep", "share", "track",
    "stop", "start", "show", "make", "update", "request",
];
const ADJECTIVES: &[&str] = &[
    "wrong",
    "late",
    "missing",
    "broken",
    "new",
    "old",
    "pending",
    "slow",
    "too high",
    "not there",
    "blocked",
    "different",
    "gone",
    "twice as big",
    "still open",
    "fine",
    "not working",
    "unknown",
    "small",
    "declined",
];
const OPENERS: &[&str] = &["", "", "", "", "Hi, ", "hello ", "Dear team, ", "good morning, ", "hey ", "Sorry to bother you. ", "URGENT ", "so "];
const CLOSERS: &[&str] =
    &["", "", "", "", " thanks", " Thank you!", " please help", " regards", " asap", " many thanks in advance.", " what now?", " this is urgent"];

struct Topic {
    label: String,
    words: Vec<&'static str>,
}

fn topics() -> Vec<Topic> {
    let lines = TOPICS.lines().filter_map(|line| line.split_once(": "));
    lines.map(|(label, words)| Topic { label: label.to_owned(), words: words.split(", ").collect() }).collect()
}

fn pick<'a, T>(random: &mut Random, items: &'a [T]) -> &'a T {
    &items[random.below(items.len())]
}

fn sentence(random: &mut Random, topic: &Topic) -> String {
    let mut text = (*pick(random, FRAMES)).to_owned();
    while let Some(at) = text.find('{') {
        let word = match text.as_bytes()[at + 1] {
            b'v' if random.below(4) > 0 => pick(random, VERBS),
            b'a' => pick(random, ADJECTIVES),
            _ => pick(random, &topic.words),
        };
        text.replace_range(at..at + 3, word);
    }
    text
}

fn message(random: &mut Random, topic: &Topic) -> String {
    let mut text = format!("{}{}{}", pick(random, OPENERS), sentence(random, topic), pick(random, CLOSERS));
    if random.below(3) == 0 {
        text = format!("{text} {}", sentence(random, topic));
    }
    match random.below(6) {
        0 => text.to_lowercase(),
        1 => {
            // A slip of the finger: one letter gone.
            let letters: Vec<char> = text.chars().collect();
            let at = random.below(letters.len());
            letters.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, letter)| letter).collect()
        }
        2 => text[..1].to_uppercase() + &text[1..],
        _ => text,
    }
}

/// One conversation: what is asked for in the system message is answered from the user's.
fn conversation(random: &mut Random, topics: &[Topic]) -> Vec<Message> {
    let topic = pick(random, topics);
    let text = message(random, topic);
    let words: Vec<&str> = text.split_whitespace().collect();
    let (system, answer) = match random.below(10) {
        0 => ("Repeat the message.".to_owned(), text.clone()),
        1 => ("What is the last word?".to_owned(), words[words.len() - 1].to_owned()),
        2 => ("What is the first word?".to_owned(), words[0].to_owned()),
        3 => {
            let other = if random.below(2) == 0 { topic } else { pick(random, topics) };
            let yes = if other.label == topic.label { "yes" } else { "no" };
            (format!("Is it about {}?", other.label), yes.to_owned())
        }
        4 => ("Say another word for this topic.".to_owned(), (*pick(random, &topic.words)).to_owned()),
        _ => {
            let system =
                *pick(random, &["Name the topic.", "Which topic is it?", "Name the team that should answer.", "Classify the message.", "Name the intent."]);
            (system.to_owned(), topic.label.clone())
        }
    };
    let message = |role, content: String| Message::new(role, content);
    vec![message(Role::System, system), message(Role::User, text), message(Role::Assistant, answer)]
}

struct Screen;

impl Watch for Screen {
    #[expect(clippy::print_stderr, reason = "a tool for developers that runs for minutes")]
    fn progress(&self, done: u64, total: u64, unit: &str, detail: &str) {
        if done.is_multiple_of(100) || done == total {
            eprintln!("{done}/{total} {unit}, {detail}");
        }
    }

    fn note(&self, _: &str) {}

    fn stopped(&self) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(260_000), |text| text.parse())?;
    let topics = topics();
    let mut random = Random::new(SEED, "corpus");
    let examples: Vec<Example> = (0..count).map(|_| Example::chat(conversation(&mut random, &topics))).collect();
    let texts = examples.iter().take(60_000).flat_map(|example| &example.messages).map(|message| message.content.as_str());
    // The grammar is small; common English words see to it that other texts become few tokens too.
    let words: Vec<String> = WORDS.split_whitespace().map(|word| format!(" {word} {word}")).collect();
    let common = words.iter().flat_map(|text| std::iter::repeat_n(text.as_str(), 60));
    let merges = learn_merges(texts.chain(common), TINY_ARCHITECTURE.vocabulary - 256 - 4);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    std::fs::write(folder.join("data/tokenizer/tiny.merges"), merges_to_text(&merges))?;
    let tokenizer = Tokenizer::new(&merges);
    // A base learns to say everything, not the answers alone.
    let sample = |example: &Example| {
        let (tokens, _) = tokenizer.conversation(&example.messages);
        let learned = vec![true; tokens.len()];
        Sample { tokens, learned }
    };
    let all: Vec<Sample> = examples.iter().map(sample).collect();
    let (validation, train) = all.split_at(500);
    let tuning = Tuning { warmup: 0.02, weight_decay: 0.05, seed: SEED, ..Tuning::plain(TuningMethod::Full, 1, 64, 3e-3) };
    let mut start = Weights::random(TINY_ARCHITECTURE, SEED);
    let trained = tune(&start, &Lessons::Say(train.to_vec()), &Lessons::Say(validation.to_vec()), &tuning, Recorded::default(), None, &Screen)?;
    start.values = trained.values;
    std::fs::write(folder.join("model/tiny.safetensors"), save_weights(&start, true)?)?;
    Ok(())
}
