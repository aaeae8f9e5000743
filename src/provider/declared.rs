use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::{Limits, Secret};

/// The protocols that providers speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Api {
    /// The engine in this program.
    Local,
    /// OpenAI's, at some address.
    OpenAi {
        /// The address up to and with the version: `https://api.openai.com/v1`.
        base_url: String,
    },
}

/// A provider as built in or declared.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name in the pipeline.
    pub name: String,
    /// What it speaks.
    pub api: Api,
    /// Its key.
    pub key: Secret,
    /// How fast it may be asked.
    pub limits: Limits,
}

/// The providers that need no declaration.
pub const BUILT_IN: &[&str] = &["local", "openai"];

/// The table of a `provider` declaration.
pub static SETTING: Setting = Setting::new("provider", "Declares where models are tuned and asked.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "What stages call it.")])
    .children(|| vec![&API, &BASE_URL, &KEY, &LIMITS]);
static API: Setting =
    Setting::new("api", "The protocol.").once().arguments(&[Slot::new("name", Kind::Choice(&["openai"]), "`openai`: OpenAI's and all that speak it.")]);
static BASE_URL: Setting =
    Setting::new("base-url", "The address.").arguments(&[Slot::new("url", Kind::Text, "Up to and with the version, as in `https://api.openai.com/v1`.")]);
static KEY: Setting =
    Setting::new("key", "The key.").arguments(&[Slot::new("secret", Kind::Secret, "`(secret)\"NAME\"`: the environment variable that holds it.")]);

static LIMITS: Setting = Setting::new("limits", "How fast it may be asked, by all stages of a run together.").without_effect().properties(&[
    Slot::new("requests-per-minute", Kind::Integer(1, 1_000_000_000), "Requests.").or(Fallback::Absent),
    Slot::new("tokens-per-minute", Kind::Integer(1, 1_000_000_000), "Tokens, of questions and answers.").or(Fallback::Absent),
]);

const OPENAI_URL: &str = "https://api.openai.com/v1";

/// The provider of this name. A declaration goes before a built-in of the same name.
#[must_use]
pub fn declared(name: &str, declarations: &[Block]) -> Option<Declared> {
    let found = declarations.iter().find(|block| block.text("name") == name);
    if let Some(block) = found {
        let base_url = block.child_text("base-url").unwrap_or(OPENAI_URL).trim_end_matches('/').to_owned();
        let key = block.child_text("key").unwrap_or("OPENAI_API_KEY");
        let limit = |name: &str| block.child(LIMITS.name)?.find_integer(name).and_then(|limit| u32::try_from(limit).ok());
        let limits = Limits { requests: limit("requests-per-minute"), tokens: limit("tokens-per-minute") };
        return Some(Declared { name: name.to_owned(), api: Api::OpenAi { base_url }, key: Secret::variable(key), limits });
    }
    let api = match name {
        "local" => Api::Local,
        "openai" => {
            // The variable that OpenAI's own clients honour.
            let base_url = std::env::var("OPENAI_BASE_URL").ok().filter(|url| !url.is_empty());
            Api::OpenAi { base_url: base_url.unwrap_or_else(|| OPENAI_URL.to_owned()).trim_end_matches('/').to_owned() }
        }
        _ => return None,
    };
    Some(Declared { name: name.to_owned(), api, key: Secret::variable("OPENAI_API_KEY"), limits: Limits::default() })
}
