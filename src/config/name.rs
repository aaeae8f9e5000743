use std::fmt;

use serde::{Deserialize, Serialize};

use super::wanted::stem;

/// The name of a stage: letters, digits, `-`, `_` and `.`; of an instance of one, its values in brackets after that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageName(String);

impl StageName {
    /// Takes a text as a name, if it can be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let dots = text.chars().all(|c| c == '.');
        (!text.is_empty() && text.chars().count() <= 100 && text.chars().all(fine) && !dots).then(|| Self(text.to_owned()))
    }

    /// The name of an instance, which was made of the name of its stage.
    pub(super) const fn of_instance(name: String) -> Self {
        Self(name)
    }

    /// The name of the stage that it is an instance of, or its own.
    #[must_use]
    pub fn stem(&self) -> &str {
        stem(&self.0)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a stage as a shell takes it: the brackets of an instance want quotes.
#[must_use]
pub fn in_shell(stage: &str) -> String {
    if stage.contains('[') { format!("'{stage}'") } else { stage.to_owned() }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
