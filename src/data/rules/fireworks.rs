use super::super::Form;
use super::Rules;

/// As Fireworks' guide to supervised fine-tuning states them: a system message comes first or not at all.
pub static RULES: Rules = Rules {
    name: "fireworks",
    forms: &[Form::Chat, Form::Preference, Form::Reinforcement],
    roles: &["system", "user", "assistant", "tool"],
    parts: &["role", "content", "weight", "tool_calls", "tool_call_id", "name", "reasoning_content"],
    fewest: 3,
    most: 3_000_000,
    largest: 1 << 30,
    turns: false,
    system_first: true,
    images: 10,
    tokens: |_| None,
};
