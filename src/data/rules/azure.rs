use super::{Rules, openai};

/// Azure trains on OpenAI's rows, by the same rules.
pub static RULES: Rules = Rules { name: "azure", ..openai::RULES };
