//! Questions of pupils by level, with a hint that leads on and an answer that gives the solution away.

use std::io;
use std::path::Path;

use retune::model::Random;

use super::dirt::{line, pick, rows, typo};

/// A kind of task: its level, how it is asked, the hint, and what the solution is.
type Task = (&'static str, &'static [&'static str], &'static str, fn(usize, usize) -> String);

const TASKS: &[Task] = &[
    ("1", &["what is {a} plus {b}", "{a} + {b}", "how much are {a} and {b} together"], "Count up from the larger number.", |a, b| (a + b).to_string()),
    ("1", &["what is {a} minus {b}", "{a} - {b}", "take {b} from {a}"], "How far is it from the smaller number to the larger?", |a, b| (a - b).to_string()),
    ("1", &["which is more, {a} or {b}", "is {b} less than {a}"], "Look at the tens first.", |a, _| a.to_string()),
    ("2", &["what is {a} times {b}", "{a} x {b}", "{b} groups of {a}"], "Add the first number again and again.", |a, b| (a * b).to_string()),
    ("2", &["what is half of {a}", "share {a} between two", "{a} divided by two"], "Which number twice gives it?", |a, _| (a / 2).to_string()),
    ("2", &["how many minutes are {b} hours", "{b} hours in minutes"], "How many minutes has one hour?", |_, b| (b * 60).to_string()),
    ("3", &["what is {b} percent of {a}", "{b}% of {a}"], "What would one in a hundred be?", |a, b| {
        format!("{:.2}", f64::from(u32::try_from(a * b).unwrap_or(0)) / 100.0)
    }),
    ("3", &["the area of a field {a} by {b}", "how large is a room of {a} by {b}"], "How many squares fit in one row?", |a, b| (a * b).to_string()),
    ("3", &["x plus {b} is {a}, what is x", "solve x + {b} = {a}"], "What undoes adding?", |a, b| (a - b).to_string()),
];
const OPENERS: &[&str] = &["", "", "", "please tell me: ", "i do not get this: ", "homework says ", "can you just say ", "quick, ", "help, "];
const ENDS: &[&str] = &["?", "?", "", " ??", ", i need the number", ", please"];

#[derive(Clone)]
struct Answers {
    level: &'static str,
    hint: String,
    solution: String,
}

fn question(random: &mut Random) -> (String, Answers) {
    let &(level, asks, hint, solve) = &TASKS[random.below(TASKS.len())];
    let (a, b) = (random.below(80) + 20, random.below(18) + 2);
    let asked = pick(random, asks).replace("{a}", &a.to_string()).replace("{b}", &b.to_string());
    let mut text = format!("{}{asked}{}", pick(random, OPENERS), pick(random, ENDS));
    if random.below(5) == 0 {
        text = typo(random, &text);
    }
    (text, Answers { level, hint: format!("Hint: {hint}"), solution: format!("It is {}.", solve(a, b)) })
}

pub fn write(folder: &Path) -> io::Result<()> {
    let mut random = Random::new(41, "questions");
    let mut out = line(&["level", "question", "hint", "solution"]);
    for (index, (text, answers)) in rows(&mut random, 1900, question).into_iter().enumerate() {
        match index % 181 {
            // A tutor who forgot to answer, and one who wrote the solution where the hint belongs.
            60 => out.push_str(&line(&[answers.level, &text, "", &answers.solution])),
            120 => out.push_str(&line(&[answers.level, &text, &answers.solution, &answers.solution])),
            _ => out.push_str(&line(&[answers.level, &text, &answers.hint, &answers.solution])),
        }
    }
    std::fs::write(folder.join("questions.csv"), out)
}
