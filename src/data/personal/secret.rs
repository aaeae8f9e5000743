use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{pattern, stands_alone};

/// Keys by the marks that their makers give them.
static MARKED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"sk-[A-Za-z0-9_\-]{16,}|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
        r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_\-]{20,}",
        r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[0-9A-Za-z_\-]{35}|xox[abprs]-[A-Za-z0-9\-]{10,}",
        r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}",
        r"|eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",
        r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    ))
});

/// Whatever somebody calls a password, key or token.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?i)(?:api[_\- ]?key|access[_\- ]?key|token|secret|passw(?:or)?d)["']?\s*[:=]\s*["']?([A-Za-z0-9_\-./+=!@#$%^&*]{8,})"#));

pub fn find(text: &str) -> Vec<Range<usize>> {
    let marked = MARKED.find_iter(text).map(|found| found.range()).filter(|at| text[at.clone()].starts_with('-') || stands_alone(text, at));
    let named = NAMED.captures_iter(text).filter_map(|found| found.get(1)).map(|value| value.range());
    // A word is no secret: there is a digit in it, or a sign.
    let named = named.filter(|at| text[at.clone()].bytes().any(|byte| !byte.is_ascii_alphabetic()));
    marked.chain(named).collect()
}
