use super::super::Form;
use super::Rules;

/// As OpenAI's guide to fine-tuning and its API description state them.
pub static RULES: Rules = Rules {
    name: "openai",
    forms: &[Form::Chat, Form::Preference, Form::Reinforcement],
    roles: &["system", "developer", "user", "assistant", "tool", "function"],
    parts: &["role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"],
    fewest: 10,
    most: usize::MAX,
    // In parts; in one request it is 512 MB.
    largest: 8 << 30,
    turns: false,
    system_first: false,
    images: 10,
    tokens,
};

/// The longest row that is trained on whole.
pub fn tokens(model: &str) -> Option<usize> {
    const LIMITS: &[(&str, usize)] = &[("gpt-4.1", 65_536), ("gpt-4o", 65_536), ("gpt-3.5-turbo-0613", 4_096), ("gpt-3.5-turbo", 16_385), ("o4-mini", 65_536)];
    LIMITS.iter().find(|(family, _)| model.trim_start_matches("ft:").starts_with(family)).map(|(_, most)| *most)
}
