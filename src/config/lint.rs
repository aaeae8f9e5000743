//! What is right, and most likely not meant.

use std::sync::LazyLock;

use kdl::{KdlDocument, KdlNode};
use regex::Regex;

use super::error::{ConfigError, Lint};
use super::matrix::Axis;
use super::scope::{Seen, value_span};
use super::value::Params;

/// Looks through the text of a pipeline that is right. `seen` is what was taken of its parameters and axes.
pub fn lint(text: &str, seen: &Seen, nodes: &[KdlNode], params: &Params, axes: &[&Axis]) -> Vec<ConfigError> {
    let unused = params.iter().filter(|(name, _)| !seen.params.contains(*name));
    let mut found: Vec<ConfigError> = unused.map(|(name, value)| Lint::UnusedParam { name: name.clone(), at: value.span.into() }.into()).collect();
    let unused = axes.iter().filter(|axis| !axis.values.iter().any(|value| seen.axes.contains(&value.span)));
    found.extend(unused.map(|axis| Lint::UnusedAxis { name: axis.name.clone(), at: axis.span.into() }.into()));
    for node in nodes {
        secrets(node, text, &mut found);
    }
    found
}

/// What the secrets of well-known services look like.
static SECRETS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let known = [
        (r"\bsk-[A-Za-z0-9_-]{20,}", "an API key"),
        (r"\bhf_[A-Za-z0-9]{30,}", "a token of a model hub"),
        (r"\bAKIA[0-9A-Z]{16}\b", "an access key of a cloud"),
        (r"\bAIza[0-9A-Za-z_-]{35}", "an API key"),
        (r"\b(?:ghp|gho|ghs|github_pat)_[A-Za-z0-9_]{30,}|\bglpat-[A-Za-z0-9_-]{20,}", "a token of a code host"),
        (r"\bxox[abp]-[A-Za-z0-9-]{20,}", "a token of a chat service"),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----", "a private key"),
        (r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}", "a signed token"),
        (r"(?i)\bbearer [A-Za-z0-9._~+/-]{20,}", "a token"),
        (r"[a-z]+://[^/\s:@]+:[^/\s:@]+@", "a password in an address"),
    ];
    known.into_iter().filter_map(|(pattern, what)| Some((Regex::new(pattern).ok()?, what))).collect()
});

fn secrets(node: &KdlNode, text: &str, found: &mut Vec<ConfigError>) {
    for entry in node.entries() {
        let Some(value) = entry.value().as_string().filter(|value| value.len() >= 12) else {
            continue;
        };
        if let Some((secret, what)) = SECRETS.iter().find_map(|(pattern, what)| Some((pattern.find(value)?.as_str(), what))) {
            let at = value_span(entry).part(text, secret).into();
            found.push(Lint::PlainSecret { what: (*what).to_owned(), at }.into());
        }
    }
    for child in node.children().into_iter().flat_map(KdlDocument::nodes) {
        secrets(child, text, found);
    }
}

#[cfg(test)]
mod tests {
    use super::SECRETS;

    #[test]
    fn all_patterns_are_patterns() {
        assert_eq!(SECRETS.len(), 10);
        assert!(SECRETS.iter().all(|(pattern, _)| !pattern.is_match("Name the team that should answer; see https://example.com/a:b@c")));
    }
}
