use super::super::Form;
use super::Rules;

/// As Together's guide to data preparation states them: user and assistant take turns, and a tool may answer in between.
pub static RULES: Rules = Rules {
    name: "together",
    forms: &[Form::Chat, Form::Preference, Form::Completion],
    roles: &["system", "user", "assistant", "tool"],
    parts: &["role", "content", "weight", "tool_calls", "tool_call_id", "name"],
    fewest: 1,
    most: usize::MAX,
    largest: 100 << 30,
    turns: true,
    system_first: true,
    images: 10,
    tokens: |_| None,
};
