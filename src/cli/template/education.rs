use super::Template;
use super::draw::{Draw, csv};

pub const TEMPLATE: Template =
    Template { name: "education", about: "a tutor that answers with a hint and not with the solution", pipeline: include_str!("education.kdl"), files };

/// What is asked, the hint for it, and the level.
const TASKS: &[(&str, &str, &str)] = &[
    ("what is {a} plus {b}", "Hint: count up from the larger number.", "1"),
    ("what is {a} minus {b}", "Hint: how far is it from the smaller one?", "1"),
    ("what is {a} times {b}", "Hint: add the first number again and again.", "2"),
    ("what is half of {a}", "Hint: share it between two.", "2"),
];
const ASKS: &[&str] = &["", "please tell me ", "I do not know: ", "can you say "];

fn files() -> Vec<(&'static str, String)> {
    let mut draw = Draw::new(41);
    let rows = (0..300).map(|_| {
        let (task, hint, level) = TASKS[draw.below(TASKS.len())];
        let task = task.replace("{a}", &(draw.below(40) + 10).to_string()).replace("{b}", &(draw.below(9) + 1).to_string());
        vec![format!("{}{task}?", draw.one(ASKS)), hint.to_owned(), level.to_owned()]
    });
    vec![("data/questions.csv", csv(&["question", "hint", "level"], rows))]
}
