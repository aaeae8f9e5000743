//! What things cost, to say so before it is spent.

use std::path::Path;

use kdl::{KdlDocument, KdlNode};

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
#[must_use]
pub fn price(workspace: &Path, name: &str, api: &str, model: &str) -> Option<Price> {
    let own = std::fs::read_to_string(workspace.join(FILE)).ok().and_then(|text| KdlDocument::parse_v2(&text).ok());
    let own: Vec<(String, String, Price)> = own.iter().flat_map(KdlDocument::nodes).filter_map(read).collect();
    let own: Vec<(&str, &str, Price)> = own.iter().map(|(provider, model, price)| (provider.as_str(), model.as_str(), *price)).collect();
    let best = |prices: &[(&str, &str, Price)], of: &str| {
        let fitting = prices.iter().filter(|(provider, name, _)| *provider == of && model.trim_start_matches("ft:").starts_with(*name));
        fitting.max_by_key(|(_, name, _)| name.len()).map(|(_, _, price)| *price)
    };
    best(&own, name).or_else(|| best(TABLE, api))
}

fn read(node: &KdlNode) -> Option<(String, String, Price)> {
    let word = |place: usize| node.get(place)?.as_string().map(str::to_owned);
    #[expect(clippy::cast_precision_loss, reason = "prices are small")]
    let figure = |name: &str| {
        let value = node.get(name)?;
        value.as_float().or_else(|| value.as_integer().map(|price| price as f64)).filter(|price| *price >= 0.0)
    };
    let price = Price { training: figure("training"), input: figure("input"), output: figure("output"), hour: figure("hour") };
    (node.name().value() == "price").then_some(())?;
    Some((word(0)?, word(1)?, price))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_and_the_workspace_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let training = |name: &str, api: &str, model: &str| price(folder.path(), name, api, model).and_then(|price| price.training);
        assert_eq!(training("openai", "openai", "gpt-4.1-nano-2025-04-14"), Some(1.5));
        assert_eq!(training("openai", "openai", "gpt-4.1-2025-04-14"), Some(25.0));
        assert_eq!(training("openai", "openai", "ft:gpt-4o-mini:org::1"), Some(3.0));
        assert_eq!(training("house", "openai-compatible", "gpt-4.1"), None);
        std::fs::write(folder.path().join(FILE), "price \"house\" \"gpt\" training=2\nprice \"openai\" \"gpt-4.1-nano\" training=0.5 hour=1\n")
            .expect("written");
        assert_eq!(training("house", "openai-compatible", "gpt-4.1"), Some(2.0));
        assert_eq!(training("openai", "openai", "gpt-4.1-nano-x"), Some(0.5));
    }
}
