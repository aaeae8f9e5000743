use super::Template;
use super::draw::{Draw, csv};

pub const TEMPLATE: Template =
    Template { name: "preference", about: "pairs of answers, of which one is preferred (DPO)", pipeline: include_str!("preference.kdl"), files };

/// What is asked, how it is answered well, and how badly.
const TASKS: &[(&str, &str, &str)] = &[
    ("where is my {x}", "Let me look for it.", "No idea."),
    ("my {x} is broken", "I am sorry, we send a new one.", "Too bad."),
    ("can I return the {x}", "Yes, within thirty days.", "Read the terms."),
];
const THINGS: &[&str] = &["lamp", "parcel", "phone", "coat", "order", "chair", "book", "bike", "desk", "shirt", "clock", "bag", "kettle", "rug"];
const ENDS: &[&str] = &["", "?", " please", ", again", " today"];

fn files() -> Vec<(&'static str, String)> {
    let mut draw = Draw::new(61);
    let rows = (0..240).map(|_| {
        let (ask, good, bad) = TASKS[draw.below(TASKS.len())];
        vec![format!("{}{}", ask.replace("{x}", draw.one(THINGS)), draw.one(ENDS)), good.to_owned(), bad.to_owned()]
    });
    vec![("data/pairs.csv", csv(&["question", "preferred", "other"], rows))]
}
