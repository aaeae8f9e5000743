//! Drafts of product lines, and how the house writes them: JSON front matter and one short line.

use std::io;
use std::path::Path;

use retune::model::Random;
use serde_json::json;

use super::dirt::{pick, rows, typo};

const THINGS: &[(&str, &str)] = &[
    ("lamp", "light"),
    ("desk", "work"),
    ("chair", "work"),
    ("mug", "kitchen"),
    ("kettle", "kitchen"),
    ("rug", "home"),
    ("clock", "home"),
    ("bag", "travel"),
    ("bottle", "travel"),
    ("blanket", "home"),
];
/// A trait as drafts say it, and as the house does.
const TRAITS: &[(&str, &str)] = &[
    ("made of solid oak", "Oak, and nothing else."),
    ("unbelievably light", "Light as it should be."),
    ("blue like the sea", "Blue, and calm."),
    ("the largest in its class", "Room for everything."),
    ("recycled at one hundred percent", "Made again."),
    ("totally waterproof", "Rain may come."),
    ("handmade in small numbers", "By hand, in small numbers."),
    ("guaranteed for ten years", "Ten years, promised."),
    ("foldable in seconds", "Folds away."),
    ("silent in operation", "You hear nothing."),
];
const DRAFTS: &[&str] = &[
    "Introducing our amazing new {x}, {y}!!!",
    "This {x} is {y}. Buy now!",
    "the {x} you always wanted: {y}",
    "Our best-selling {x} ({y}) is back in stock",
    "A revolutionary {x} that is {y}",
    "{x}, {y}, only this week",
];

#[derive(Clone)]
struct Line {
    tag: &'static str,
    line: &'static str,
}

fn draft(random: &mut Random) -> (String, Line) {
    let &(thing, tag) = &THINGS[random.below(THINGS.len())];
    let &(said, line) = &TRAITS[random.below(TRAITS.len())];
    let mut text = pick(random, DRAFTS).replace("{x}", thing).replace("{y}", said);
    if random.below(8) == 0 {
        text = text.to_uppercase();
    }
    if random.below(4) == 0 {
        text = typo(random, &text);
    }
    (text, Line { tag, line })
}

/// What a shop takes, as a JSON Schema.
fn schema() -> serde_json::Value {
    let tags: std::collections::BTreeSet<&str> = THINGS.iter().map(|(_, tag)| *tag).collect();
    json!({
        "type": "object",
        "required": ["tag", "line"],
        "additionalProperties": false,
        "properties": { "tag": { "enum": tags }, "line": { "type": "string", "maxLength": 60 } },
    })
}

pub fn write(folder: &Path) -> io::Result<()> {
    let mut random = Random::new(53, "drafts");
    let mut out = String::new();
    for (index, (text, Line { tag, line })) in rows(&mut random, 1800, draft).into_iter().enumerate() {
        let full = json!({ "draft": text, "tag": tag, "line": line }).to_string();
        match index % 167 {
            50 => out.push_str(&json!({ "draft": text, "tag": tag, "line": "" }).to_string()),
            100 => out.push_str(&full[..full.len() / 2]),
            _ => out.push_str(&full),
        }
        out.push('\n');
    }
    std::fs::write(folder.join("drafts.jsonl"), out)?;
    std::fs::write(folder.join("line.schema.json"), format!("{:#}\n", schema()))?;
    std::fs::write(folder.join("voice.txt"), "Write front matter with the tag, and one short line. No shouting, no promises that nobody can keep.\n")
}
