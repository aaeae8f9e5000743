use super::Template;
use super::draw::{Draw, csv};

pub const TEMPLATE: Template =
    Template { name: "content", about: "a voice for product lines, held to rules of style", pipeline: include_str!("content.kdl"), files };

const THINGS: &[&str] = &["lamp", "chair", "mug", "desk", "rug", "clock"];
const TRAITS: &[(&str, &str)] = &[("oak", "Made of oak."), ("light", "Light as air."), ("blue", "Calm and blue."), ("large", "Room for all.")];
const DRAFTS: &[&str] = &["our new {x} is {y}", "a {x} that is {y}", "this {x}: very {y}", "introducing the {y} {x}"];

fn files() -> Vec<(&'static str, String)> {
    let mut draw = Draw::new(53);
    let rows = (0..300).map(|_| {
        let (thing, (quality, line)) = (draw.one(THINGS), TRAITS[draw.below(TRAITS.len())]);
        vec![draw.one(DRAFTS).replace("{x}", thing).replace("{y}", quality), line.to_owned()]
    });
    vec![("data/drafts.csv", csv(&["draft", "line"], rows)), ("prompts/voice.txt", "Write one short line in our voice.".to_owned())]
}
