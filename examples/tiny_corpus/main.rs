//! What `builtin:tiny` is made from: conversations of a seeded grammar, a tokenizer that is learnt from them, and the folder of a model
//! without weights. `pipelines/tiny-base.kdl` runs it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use retune::data::{ChatTokenizer, Message, Role, Tokenizer, learn_merges, merges_to_text};
use retune::model::{Random, TINY_ARCHITECTURE, describe};
use serde_json::json;

const SEED: u64 = 2027;
const CONVERSATIONS: usize = 260_000;
/// Conversations that the tokenizer is learnt from.
const LEARNT_FROM: usize = 60_000;
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

/// Common English words: the grammar is small, and these see to it that other texts become few tokens too.
fn common() -> Vec<String> {
    WORDS.split_whitespace().map(|word| format!(" {word} {word}")).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("where to? `tiny_corpus FOLDER [CONVERSATIONS]`")?;
    let count: usize = arguments.next().map_or(Ok(CONVERSATIONS), |text| text.parse())?;
    let (folder, topics) = (Path::new(&folder), topics());
    let mut random = Random::new(SEED, "corpus");
    let conversations: Vec<Vec<Message>> = (0..count).map(|_| conversation(&mut random, &topics)).collect();
    std::fs::create_dir_all(folder.join("blank"))?;
    let mut texts = BufWriter::new(File::create(folder.join("texts.jsonl"))?);
    for messages in &conversations {
        serde_json::to_writer(&mut texts, &json!({ "messages": messages }))?;
        texts.write_all(b"\n")?;
    }
    texts.flush()?;
    let said = conversations.iter().take(LEARNT_FROM).flatten().map(|message| message.content.as_str());
    let common = common();
    let common = common.iter().flat_map(|text| std::iter::repeat_n(text.as_str(), 60));
    let merges = learn_merges(said.chain(common), TINY_ARCHITECTURE.vocabulary - 256 - 4);
    std::fs::write(folder.join("tiny.merges"), merges_to_text(&merges))?;
    let chat = ChatTokenizer::Tiny(Box::leak(Box::new(Tokenizer::new(&merges))));
    for (name, bytes) in describe(&TINY_ARCHITECTURE, &chat)? {
        std::fs::write(folder.join("blank").join(name), bytes)?;
    }
    Ok(())
}
