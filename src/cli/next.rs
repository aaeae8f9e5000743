//! What to do next, said below what a command had to say.

use std::io::{IsTerminal, stderr};

use super::speak::{complain, filled, say};

/// A step: the words to type after `retune`, and what they do.
pub struct Step {
    words: String,
    does: String,
}

/// A step by the words to type after `retune`.
pub fn step(words: impl Into<String>, does: impl Into<String>) -> Step {
    Step { words: words.into(), does: does.into() }
}

impl Step {
    fn line(&self) -> String {
        filled(&format!("  retune {}    {}", self.words, self.does), 6)
    }
}

/// Says steps below a result that is laid out for people.
pub fn next(steps: impl IntoIterator<Item = Step>) {
    steps.into_iter().for_each(|step| say!("{}", step.line()));
}

/// Says them beside a result that is content, or a list for other programs: to whoever sits at a terminal.
pub fn aside(steps: impl IntoIterator<Item = Step>) {
    if stderr().is_terminal() {
        steps.into_iter().for_each(|step| complain!("{}", step.line()));
    }
}
