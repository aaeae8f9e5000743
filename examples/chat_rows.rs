//! Writes chat rows for benchmarks: about 500 bytes each, with the dirt of real exports in them. The same count gives the same rows.
//!
//! `chat_rows ROWS [FILE]`, to standard output without FILE.

use std::io::{BufWriter, Write};

use retune::model::Random;
use serde_json::json;

const SEED: u64 = 23;

const WORDS: &str = "the order a my you and to for of is it in that was on this with have not but can please account payment card \
    invoice delivery parcel refund monday tuesday yesterday morning address number customer service team question answer help thank \
    thanks reply wrong right charged twice again never arrived broken screen cable manual warranty return label shipping express \
    standard international currency exchange fee monthly yearly subscription cancel change update upgrade downgrade password reset \
    email phone mobile application website browser error message code verify identity document passport driving licence bank transfer \
    pending declined approved limit balance statement top up withdraw cash machine abroad holiday weekend business personal joint \
    because although however therefore usually sometimes already still waiting minutes hours days weeks since until before after \
    would could should might must about which where when what who how why there their they them we our us his her its \
    received sent opened closed started finished missing damaged replaced repaired checked confirmed explained offered accepted \
    green blue red black white small large medium heavy light new old first second third last next same other another";

/// Personal data that a row may hold; none of it is anybody's.
const PERSONAL: &[&str] = &[
    "mail me at anna.berg@example.org",
    "call +49 30 901820 after six",
    "my card is 4111 1111 1111 1111",
    "my account is DE89 3704 0044 0532 0130 00",
    "I wrote from 192.0.2.17",
    "write to k.long-name+shop@mail.example.com please",
];

const CHANNELS: &[&str] = &["mail", "chat", "phone"];

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().and_then(|rows| rows.parse().ok()).unwrap_or(1000);
    let mut out: Box<dyn Write> = match arguments.next() {
        Some(path) => Box::new(BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?)),
        None => Box::new(BufWriter::new(std::io::stdout().lock())),
    };
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut random = Random::new(SEED, "chat rows");
    let mut last: Vec<String> = Vec::new();
    for number in 0..rows {
        let line = match random.below(1000) {
            0 => "{\"messages\": [{\"role\": \"user\", \"content\": \"cut off".to_owned(),
            1 => json!({ "messages": [{ "role": "user", "content": sentence(&mut random, &words, 12) }] }).to_string(),
            // One of the rows of shortly before, once more.
            2..=51 if !last.is_empty() => last[random.below(last.len())].clone(),
            // The same with another word in it.
            52..=81 if !last.is_empty() => last[random.below(last.len())].replacen(" the ", " that ", 1),
            _ => row(&mut random, &words, number),
        };
        writeln!(out, "{line}")?;
        if last.len() < 500 { last.push(line) } else { last[number % 500] = line }
    }
    out.flush()
}

fn row(random: &mut Random, words: &[&str], number: usize) -> String {
    let (asked, answered) = (18 + random.below(25), 22 + random.below(25));
    let mut question = sentence(random, words, asked);
    if random.below(10) == 0 {
        question = format!("{question} {}.", PERSONAL[random.below(PERSONAL.len())]);
    }
    json!({
        "messages": [
            { "role": "system", "content": "You answer customers of a shop, kindly and in two sentences." },
            { "role": "user", "content": question },
            { "role": "assistant", "content": sentence(random, words, answered) },
        ],
        "channel": CHANNELS[random.below(CHANNELS.len())],
        "ticket": number,
    })
    .to_string()
}

fn sentence(random: &mut Random, words: &[&str], length: usize) -> String {
    let mut text = String::new();
    for at in 0..length {
        if at > 0 {
            text.push_str(if at % 11 == 10 { ", " } else { " " });
        }
        text.push_str(words[random.below(words.len())]);
    }
    text[..1].to_uppercase() + &text[1..] + "."
}
