use std::fmt;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::ProviderError;

/// Where a secret is. What it is, is looked up when it is used, and is never printed or stored.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    place: Place,
    /// What a command said, so that it is asked once in a process.
    #[serde(skip)]
    said: Arc<OnceLock<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    /// An environment variable.
    Variable(String),
    /// What a command prints.
    Command(String),
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Secret {}

impl Secret {
    /// A secret in an environment variable.
    #[must_use]
    pub fn variable(name: &str) -> Self {
        Self { place: Place::Variable(name.to_owned()), said: Arc::default() }
    }

    /// A secret that a command prints, such as that of a password manager.
    #[must_use]
    pub fn command(line: &str) -> Self {
        Self { place: Place::Command(line.to_owned()), said: Arc::default() }
    }

    /// The environment variable that it stands in, where it does.
    #[must_use]
    pub fn named(&self) -> Option<&str> {
        if let Place::Variable(variable) = &self.place { Some(variable) } else { None }
    }

    /// What the secret is.
    ///
    /// # Errors
    /// When the variable is not set or empty, or the command fails or prints nothing.
    pub fn reveal(&self, provider: &str) -> Result<String, ProviderError> {
        let key = self.found(provider)?;
        // No header could carry it.
        if key.chars().any(|c| c.is_control() || c.is_whitespace()) { Err(ProviderError::BadKey { provider: provider.to_owned() }) } else { Ok(key) }
    }

    fn found(&self, provider: &str) -> Result<String, ProviderError> {
        match &self.place {
            Place::Variable(variable) => {
                let value = std::env::var(variable).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
                value.ok_or_else(|| ProviderError::NoKey { provider: provider.to_owned(), variable: variable.clone() })
            }
            Place::Command(line) => {
                if let Some(said) = self.said.get() {
                    return Ok(said.clone());
                }
                let done = Command::new("/bin/sh").arg("-c").arg(line).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
                let said = done.ok().filter(|done| done.status.success()).map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
                let said = said.filter(|said| !said.is_empty());
                let said = said.ok_or_else(|| ProviderError::NoKeyFrom { provider: provider.to_owned(), command: line.clone() })?;
                Ok(self.said.get_or_init(|| said).clone())
            }
        }
    }

    /// Whether it can be had, as far as that shows without asking a command.
    #[must_use]
    pub fn is_set(&self) -> bool {
        match &self.place {
            Place::Variable(variable) => std::env::var_os(variable).is_some_and(|value| !value.is_empty()),
            Place::Command(_) => true,
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Variable(variable) => write!(f, "the environment variable {variable}"),
            Place::Command(line) => write!(f, "the command `{line}`"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

/// A text without the secrets that slipped into it: servers like to repeat what they were sent.
#[must_use]
pub(super) fn without(text: &str, secret: &str) -> String {
    if secret.len() < 4 {
        return text.to_owned();
    }
    let text = text.replace(secret, MASK);
    // As JSON writes it, where that is something else.
    let escaped = serde_json::to_string(secret).unwrap_or_default();
    text.replace(escaped.trim_matches('"'), MASK)
}

const MASK: &str = "[secret]";

/// The same for a body of any kind.
#[must_use]
pub(super) fn clean(body: Vec<u8>, secret: &str) -> Vec<u8> {
    match String::from_utf8(body) {
        Ok(text) => decoded(without(&text, secret), secret).into_bytes(),
        Err(error) => {
            let (body, secret) = (error.into_bytes(), secret.as_bytes());
            let Some(at) = (secret.len() >= 4).then(|| body.windows(secret.len()).position(|part| part == secret)).flatten() else {
                return body;
            };
            let rest = body[at + secret.len()..].to_vec();
            [&body[..at], MASK.as_bytes(), &clean(rest, &String::from_utf8_lossy(secret))].concat()
        }
    }
}

/// The same for a reply that is a result. A key that is no secret, such as `none` for a server that wants none, may stand in a
/// result as a word, and changing that would change the result.
#[must_use]
pub(super) fn clean_result(body: Vec<u8>, secret: &str) -> Vec<u8> {
    /// Words are shorter, and keys are longer or have more than letters.
    const LONGEST_WORD: usize = 15;
    let is_word = secret.len() <= LONGEST_WORD && secret.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_word { body } else { clean(body, secret) }
}

/// The same where JSON writes some of its letters in another way, as some servers do with `+` and `/`.
fn decoded(text: String, secret: &str) -> String {
    /// What is larger is no complaint.
    const LARGEST: usize = 16 << 20;
    let escaped = secret.len() >= 4 && text.len() <= LARGEST && (text.contains("\\u") || text.contains("\\/"));
    let Some(mut value) = escaped.then(|| serde_json::from_str::<serde_json::Value>(&text).ok()).flatten() else {
        return text;
    };
    if hidden(&mut value, secret) { value.to_string() } else { text }
}

/// Hides a secret in every string of a value. Tells whether there was any.
fn hidden(value: &mut serde_json::Value, secret: &str) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) if text.contains(secret) => {
            *text = text.replace(secret, MASK);
            true
        }
        Value::Array(parts) => parts.iter_mut().fold(false, |found, part| hidden(part, secret) | found),
        Value::Object(parts) => parts.values_mut().fold(false, |found, part| hidden(part, secret) | found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        assert_eq!(without("Bearer sk-1234, again sk-1234", "sk-1234"), "Bearer [secret], again [secret]");
        assert_eq!(without(r#"{"key":"a\"b\\c"}"#, "a\"b\\c"), r#"{"key":"[secret]"}"#);
        assert_eq!(clean([&[0xff][..], b"sk-1234", &[0xfe], b"sk-1234"].concat(), "sk-1234"), [&[0xff][..], b"[secret]", &[0xfe], b"[secret]"].concat());
        assert_eq!(clean(b"nothing".to_vec(), "sk-1234"), b"nothing");
        assert_eq!(clean(br#"{"error":["of sk-a\u002Bb\/c=="]}"#.to_vec(), "sk-a+b/c=="), br#"{"error":["of [secret]"]}"#);
    }
}
