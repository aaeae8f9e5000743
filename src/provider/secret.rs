use std::fmt;

use super::ProviderError;

/// The name of a secret. What it stands for is looked up when it is used, and is never printed or stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    variable: String,
}

impl Secret {
    /// A secret in an environment variable.
    #[must_use]
    pub fn variable(name: &str) -> Self {
        Self { variable: name.to_owned() }
    }

    /// What the secret is.
    ///
    /// # Errors
    /// When the variable is not set, or empty.
    pub(super) fn reveal(&self, provider: &str) -> Result<String, ProviderError> {
        let value = std::env::var(&self.variable).ok().filter(|value| !value.trim().is_empty());
        value.ok_or_else(|| ProviderError::NoKey { provider: provider.to_owned(), variable: self.variable.clone() })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.variable)
    }
}
