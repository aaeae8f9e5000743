//! Writes the sample data of `pipelines/support-router.kdl`: customer messages to a shop, with the dirt of
//! real exports in them. The same seed gives the same files. Every person, number and address is made up.

use std::path::Path;

use retune::model::Random;
use serde_json::json;

const SEED: u64 = 11;

/// A team, how many messages in a hundred go to it, what its messages are about, and what people ask.
type Team = (&'static str, usize, &'static [&'static str], &'static [&'static str]);

const TEAMS: &[Team] = &[
    (
        "billing",
        18,
        &["invoice", "bill", "direct debit", "monthly charge", "payment", "card payment", "amount due"],
        &[
            "I was charged twice for my {x}",
            "the {x} is higher than last month",
            "can you explain this {x}",
            "my {x} did not go through",
            "why is there a second {x} on my statement",
            "I never agreed to this {x}",
            "please send the {x} again with our tax number",
            "the {x} shows the wrong company name",
        ],
    ),
    (
        "delivery",
        17,
        &["parcel", "package", "order", "shipment", "box", "courier", "tracking number"],
        &[
            "where is my {x}",
            "the {x} should have been here on monday",
            "my {x} was left at the wrong house",
            "the {x} has not moved for five days",
            "can the {x} come in the evening instead",
            "the driver says nobody was home but the {x} never came",
            "I want to change the address for the {x}",
            "half of the {x} is missing",
        ],
    ),
    (
        "returns",
        13,
        &["shoes", "jacket", "lamp", "headphones", "coat", "blender", "chair"],
        &[
            "I want to send back the {x}",
            "the {x} do not fit, how do I get a refund",
            "how long do I have to return the {x}",
            "I returned the {x} two weeks ago and still have no money back",
            "can I swap the {x} for another size",
            "there was no return label with the {x}",
            "I changed my mind about the {x}",
        ],
    ),
    (
        "technical",
        14,
        &["app", "website", "screen", "update", "checkout page", "search", "notification"],
        &[
            "the {x} keeps crashing",
            "the {x} is blank since this morning",
            "I get error 502 on the {x}",
            "the {x} freezes when I tap the button",
            "nothing happens on the {x} when I click",
            "the {x} is terribly slow on my phone",
            "after the last version the {x} does not load",
        ],
    ),
    (
        "account",
        11,
        &["password", "login", "email address", "profile", "verification code", "username"],
        &[
            "I cannot get in with my {x}",
            "I forgot my {x}",
            "how do I change my {x}",
            "the {x} never arrives",
            "my {x} is locked after three tries",
            "someone else seems to use my {x}",
            "please delete my {x} for good",
        ],
    ),
    (
        "sales",
        9,
        &["team plan", "bulk order", "business account", "annual plan", "gift cards", "demo"],
        &[
            "we are 40 people and interested in the {x}",
            "what does the {x} cost",
            "is there a discount on the {x} for schools",
            "could somebody call me about the {x}",
            "I would like a quote for the {x}",
            "how does the {x} differ from the basic one",
        ],
    ),
    (
        "warranty",
        7,
        &["kettle", "drill", "vacuum cleaner", "watch", "monitor", "toaster"],
        &[
            "the {x} stopped working after a month",
            "my {x} makes a burning smell",
            "the {x} broke, is it still covered",
            "a part of the {x} came off",
            "can the {x} be repaired under guarantee",
            "the {x} arrived with a crack and will not turn on",
        ],
    ),
    (
        "privacy",
        4,
        &["personal data", "newsletter", "cookies", "purchase history", "phone number"],
        &[
            "what do you store about my {x}",
            "I want a copy of my {x} under the data protection law",
            "stop sending me the {x}",
            "who did you give my {x} to",
            "please erase my {x} from your records",
        ],
    ),
    (
        "complaints",
        5,
        &["agent", "hotline", "shop assistant", "service", "chat"],
        &[
            "I waited an hour for your {x}, this is a disgrace",
            "your {x} was rude to me",
            "I want to speak to a manager about the {x}",
            "third time I write about the {x} and nobody answers",
            "the worst {x} I have ever had",
        ],
    ),
    (
        "jobs",
        2,
        &["warehouse job", "internship", "vacancy", "application"],
        &["is the {x} still open", "I sent my {x} in may and heard nothing", "do I need a degree for the {x}", "who reads the {x}"],
    ),
];
const OPENERS: &[&str] = &["", "", "", "", "Hi, ", "hello, ", "Good morning, ", "hey ", "Dear team, ", "Sorry to bother you, ", "ok so ", "Please help: "];
const CLOSERS: &[&str] = &[
    "",
    "",
    "",
    "",
    " thanks",
    " Thank you in advance.",
    " please hurry",
    " this is urgent!!",
    " kind regards",
    " what now?",
    " I have been a customer for years",
    " can someone look into it",
];
const ASIDES: &[&str] = &[
    " I bought it for my mother.",
    " My son tried too.",
    " We leave on friday.",
    " It worked fine before.",
    " I already wrote last week.",
    " Your page does not say.",
];
const NAMES: &[&str] = &["Ana Reyes", "Tom Okafor", "Li Wei", "Marta Nowak", "Sam Patel", "Ingrid Dahl"];

fn pick<T: Copy>(random: &mut Random, items: &[T]) -> T {
    items[random.below(items.len())]
}

fn team(random: &mut Random) -> &'static Team {
    let mut point = random.below(100);
    for team in TEAMS {
        if point < team.1 {
            return team;
        }
        point -= team.1;
    }
    &TEAMS[0]
}

/// A slip of the finger: a letter gone, doubled, or swapped with the next.
fn typo(random: &mut Random, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = random.below(letters.len().saturating_sub(1).max(1));
    match random.below(3) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        _ => letters.swap(at, (at + 1).min(text.chars().count() - 1)),
    }
    letters.into_iter().collect()
}

fn message(random: &mut Random) -> (String, &'static str) {
    let &(name, _, things, asks) = team(random);
    let said = pick(random, asks).replace("{x}", pick(random, things));
    let mut text = format!("{}{said}.{}", pick(random, OPENERS), pick(random, CLOSERS));
    if random.below(4) == 0 {
        text.push_str(pick(random, ASIDES));
    }
    if random.below(6) == 0 {
        // People write about more than one thing; the first is what counts.
        let &(_, _, things, asks) = team(random);
        text = format!("{text} Also, {}", pick(random, asks).replace("{x}", pick(random, things)));
    }
    if random.below(12) == 0 {
        let person = pick(random, NAMES);
        let mail = person.to_lowercase().replace(' ', ".");
        text = match random.below(3) {
            0 => format!("{text} Write to {mail}@example.com."),
            1 => format!("{text} Call me on +44 20 7946 0{:03}, {person}", random.below(1000)),
            _ => format!("{text} My card is 4111 1111 1111 1111."),
        };
    }
    for _ in 0..random.below(3) {
        text = typo(random, &text);
    }
    match random.below(5) {
        0 => (text.to_lowercase(), name),
        1 => (text.replace(['.', ','], ""), name),
        _ => (text, name),
    }
}

fn rows(random: &mut Random, count: usize) -> Vec<(String, &'static str)> {
    let mut rows: Vec<(String, &'static str)> = Vec::new();
    while rows.len() < count {
        let earlier = rows.len().checked_sub(1).map(|last| rows[random.below(last + 1)].clone());
        rows.push(match (random.below(20), earlier) {
            (0, Some(again)) => again,
            (1, Some((text, team))) => (format!("  {}  ", text.replace(' ', "  ")), team),
            (2, Some((text, team))) => (typo(random, &text), team),
            _ => message(random),
        });
    }
    rows
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/data/support").to_owned());
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let mut random = Random::new(SEED, "support messages");

    let mut email = String::from("channel,text,team\n");
    for (index, (text, team)) in rows(&mut random, 1100).into_iter().enumerate() {
        match index % 157 {
            // A comma that nobody quoted, and a line that was cut off.
            80 => email.push_str(&format!("email,{},{team},\n", text.replace(',', " "))),
            130 => email.push_str("email,\"cut off\n".trim_end_matches('"').replace('"', "").as_str()),
            _ => email.push_str(&format!("email,{},{team}\n", quoted(&text))),
        }
    }
    std::fs::write(folder.join("email.csv"), email)?;

    let mut chat = String::new();
    for (index, (text, team)) in rows(&mut random, 700).into_iter().enumerate() {
        let line = json!({ "channel": "chat", "text": text, "team": team }).to_string();
        match index % 211 {
            100 => chat.push_str(&line[..line.len() / 2]),
            150 => chat.push_str(&json!({ "channel": "chat", "text": text }).to_string()),
            _ => chat.push_str(&line),
        }
        chat.push('\n');
    }
    std::fs::write(folder.join("chat.jsonl"), chat)?;

    let phone: Vec<serde_json::Value> =
        rows(&mut random, 400).into_iter().map(|(text, team)| json!({ "channel": "phone", "text": text.to_lowercase(), "team": team })).collect();
    std::fs::write(folder.join("phone.json"), format!("{:#}\n", serde_json::Value::Array(phone)))?;
    Ok(())
}
