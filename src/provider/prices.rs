//! What things cost, to say so before it is spent.

use std::path::Path;

use kdl::{KdlDocument, KdlNode};

use super::ProviderError;

/// US dollars for a million tokens, and for an hour in which a tuned model is held ready.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Trained tokens.
    pub training: Option<f64>,
    /// Tokens that a tuned model is asked with.
    pub input: Option<f64>,
    /// Tokens that it answers with.
    pub output: Option<f64>,
    /// An hour of hosting, where a deployed model is paid for by the hour.
    pub hour: Option<f64>,
}

const fn tokens(training: f64, input: f64, output: f64) -> Price {
    Price { training: Some(training), input: Some(input), output: Some(output), hour: None }
}

/// An amount in US dollars, as people read it: with cents, and below a cent with two digits that say something.
#[must_use]
pub fn dollars(usd: f64) -> String {
    let places = if usd == 0.0 || usd.abs() >= 0.01 { 2 } else { (-usd.abs().log10().floor()).min(9.0) as usize + 1 };
    format!("${usd:.places$}")
}

/// By provider and the beginning of a model's name; the longest that fits counts. From the public price lists of OpenAI and
/// Azure as they stood in the middle of 2025. `prices.kdl` in the workspace goes before it.
const TABLE: &[(&str, &str, Price)] = &[
    ("openai", "gpt-4.1-nano", tokens(1.5, 0.2, 0.8)),
    ("openai", "gpt-4.1-mini", tokens(5.0, 0.8, 3.2)),
    ("openai", "gpt-4.1", tokens(25.0, 3.0, 12.0)),
    ("openai", "gpt-4o-mini", tokens(3.0, 0.3, 1.2)),
    ("openai", "gpt-4o", tokens(25.0, 3.75, 15.0)),
    ("openai", "gpt-3.5-turbo", tokens(8.0, 3.0, 6.0)),
    ("azure", "gpt-4.1-nano", Price { training: Some(1.5), input: Some(0.1), output: Some(0.4), hour: Some(1.7) }),
    ("azure", "gpt-4.1-mini", Price { training: Some(5.0), input: Some(0.4), output: Some(1.6), hour: Some(1.7) }),
    ("azure", "gpt-4.1", Price { training: Some(25.0), input: Some(2.0), output: Some(8.0), hour: Some(1.7) }),
    ("azure", "gpt-4o-mini", Price { training: Some(3.3), input: Some(0.15), output: Some(0.6), hour: Some(1.7) }),
    ("azure", "gpt-4o", Price { training: Some(27.5), input: Some(2.5), output: Some(10.0), hour: Some(1.7) }),
];

/// When the table was made, as it is said to users.
pub const AS_OF: &str = "mid 2025";

/// Where a workspace keeps prices of its own: `price "provider" "model" training=2.5 input=0.2 output=0.8 hour=1.7` for each.
const FILE: &str = "prices.kdl";

/// What a model costs at a provider, where that is known. `name` is the provider's in the pipeline, `api` what it speaks.
///
/// # Errors
/// When the workspace has prices of its own that cannot be read.
pub fn price(workspace: &Path, name: &str, api: &str, model: &str) -> Result<Option<Price>, ProviderError> {
    let own = own(workspace)?;
    // A provider's own name says more than what it speaks, and the workspace more than the table.
    let own = own.iter().map(|(provider, model, price)| (provider.as_str(), model.as_str(), *price, if provider == name { 2 } else { 1 }));
    let table = TABLE.iter().map(|(provider, model, price)| (*provider, *model, *price, 0));
    let of = |provider: &str, rank: u8| provider == api || (provider == name && rank > 0);
    let fitting = own.chain(table).filter(|(provider, begins, _, rank)| of(provider, *rank) && model.trim_start_matches("ft:").starts_with(begins));
    Ok(fitting.max_by_key(|(_, begins, _, rank)| (begins.len(), *rank)).map(|(_, _, price, _)| price))
}

/// The prices that a workspace keeps. A mistake in them is said: it could cost more than it seems.
fn own(workspace: &Path) -> Result<Vec<(String, String, Price)>, ProviderError> {
    let wrong = |problem: String| ProviderError::Prices { problem };
    let text = match std::fs::read_to_string(workspace.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let document = KdlDocument::parse_v2(&text).map_err(|error| wrong(format!("it is not KDL: {error}")))?;
    document.nodes().iter().map(|node| read(node).map_err(wrong)).collect()
}

fn read(node: &KdlNode) -> Result<(String, String, Price), String> {
    if node.name().value() != "price" {
        return Err(format!("unknown node `{}`", node.name().value()));
    }
    let mut words = Vec::new();
    let mut price = Price::default();
    for entry in node.entries() {
        let Some(name) = entry.name().map(|name| name.value()) else {
            words.push(entry.value().as_string().ok_or("a provider and a model are names in quotes")?.to_owned());
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "prices are small")]
        let figure = entry.value().as_float().or_else(|| entry.value().as_integer().map(|price| price as f64));
        let figure = figure.filter(|figure| *figure >= 0.0).ok_or_else(|| format!("`{name}` must be a number of at least 0"))?;
        *match name {
            "training" => &mut price.training,
            "input" => &mut price.input,
            "output" => &mut price.output,
            "hour" => &mut price.hour,
            _ => return Err(format!("unknown property `{name}`")),
        } = Some(figure);
    }
    match <[String; 2]>::try_from(words) {
        Ok([provider, model]) => Ok((provider, model, price)),
        Err(_) => Err("a price is of one provider and one model".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_and_the_workspace_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let training = |name: &str, api: &str, model: &str| price(folder.path(), name, api, model).expect("it can be read").and_then(|price| price.training);
        assert_eq!(training("openai", "openai", "gpt-4.1-nano-2025-04-14"), Some(1.5));
        assert_eq!(training("openai", "openai", "gpt-4.1-2025-04-14"), Some(25.0));
        assert_eq!(training("openai", "openai", "ft:gpt-4o-mini:org::1"), Some(3.0));
        assert_eq!(training("house", "openai-compatible", "gpt-4.1"), None);
        std::fs::write(folder.path().join(FILE), "price \"house\" \"gpt\" training=2\nprice \"openai\" \"gpt-4.1-nano\" training=0.5 hour=1\n")
            .expect("written");
        assert_eq!(training("house", "openai-compatible", "gpt-4.1"), Some(2.0));
        assert_eq!(training("openai", "openai", "gpt-4.1-nano-x"), Some(0.5));
        std::fs::write(folder.path().join(FILE), "price \"openai\" \"gpt-4.1-nano\" training=9\nprice \"openai\" \"gpt-4.1\" training=8\n").expect("written");
        assert_eq!(training("house", "openai", "gpt-4.1-nano-x"), Some(9.0), "by what it speaks");
        assert_eq!(training("house", "openai", "gpt-4.1-mini"), Some(5.0), "the longest name counts, wherever it stands");
        for wrong in ["prices \"a\" \"b\" training=1", "price \"a\" \"b\" trainig=1", "price \"a\" training=1", "price \"a\" \"b\" training=-1", "price {"] {
            std::fs::write(folder.path().join(FILE), wrong).expect("written");
            assert!(price(folder.path(), "a", "a", "b").is_err(), "{wrong}");
        }
    }
}
