//! What training costs, to say so before it is spent.

use std::path::Path;

use kdl::{KdlDocument, KdlNode};

/// US dollars for a million trained tokens, by provider and the beginning of a model's name; the longest that fits counts.
///
/// From OpenAI's public price list as it stood in the middle of 2025. `prices.kdl` in the workspace goes before it.
const TABLE: &[(&str, &str, f64)] = &[
    ("openai", "gpt-4.1-nano", 1.5),
    ("openai", "gpt-4.1-mini", 5.0),
    ("openai", "gpt-4.1", 25.0),
    ("openai", "gpt-4o-mini", 3.0),
    ("openai", "gpt-4o", 25.0),
    ("openai", "gpt-3.5-turbo", 8.0),
];

/// Where a workspace keeps prices of its own: `price "provider" "model" training=2.5` for each.
const FILE: &str = "prices.kdl";

/// US dollars for a million tokens trained at a provider, where that is known.
#[must_use]
pub fn training_price(workspace: &Path, provider: &str, model: &str) -> Option<f64> {
    let own = std::fs::read_to_string(workspace.join(FILE)).ok().and_then(|text| KdlDocument::parse_v2(&text).ok());
    let own = own.iter().flat_map(KdlDocument::nodes).filter_map(price).collect::<Vec<_>>();
    let of = |(of, name, _): &(&str, &str, f64)| *of == provider && model.starts_with(*name);
    let best = |prices: &[(&str, &str, f64)]| prices.iter().filter(|price| of(price)).max_by_key(|(_, name, _)| name.len()).map(|(_, _, price)| *price);
    let own: Vec<(&str, &str, f64)> = own.iter().map(|(provider, model, price)| (provider.as_str(), model.as_str(), *price)).collect();
    best(&own).or_else(|| best(TABLE))
}

fn price(node: &KdlNode) -> Option<(String, String, f64)> {
    let word = |place: usize| node.get(place)?.as_string().map(str::to_owned);
    let training = node.get("training")?;
    #[expect(clippy::cast_precision_loss, reason = "prices are small")]
    let price = training.as_float().or_else(|| training.as_integer().map(|price| price as f64))?;
    (node.name().value() == "price" && price >= 0.0).then_some(())?;
    Some((word(0)?, word(1)?, price))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_and_the_workspace_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(training_price(folder.path(), "openai", "gpt-4.1-nano-2025-04-14"), Some(1.5));
        assert_eq!(training_price(folder.path(), "openai", "gpt-4.1-2025-04-14"), Some(25.0));
        assert_eq!(training_price(folder.path(), "house", "gpt-4.1"), None);
        std::fs::write(folder.path().join(FILE), "price \"house\" \"gpt\" training=2\nprice \"openai\" \"gpt-4.1-nano\" training=0.5\n").expect("written");
        assert_eq!(training_price(folder.path(), "house", "gpt-4.1"), Some(2.0));
        assert_eq!(training_price(folder.path(), "openai", "gpt-4.1-nano-x"), Some(0.5));
    }
}
