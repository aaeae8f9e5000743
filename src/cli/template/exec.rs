use super::Template;
use super::draw::Draw;

pub const TEMPLATE: Template = Template { name: "exec", about: "any commands as stages: Make with content hashes", pipeline: include_str!("exec.kdl"), files };

const WORDS: &[&str] = &["apple", "pear", "plum", "cherry", "quince", "fig"];

fn files() -> Vec<(&'static str, String)> {
    let mut draw = Draw::new(71);
    let text: String = (0..400).map(|_| format!("{}\n", draw.one(WORDS))).collect();
    vec![("data/words.txt", text)]
}
