//! Models and providers that a pipeline counts on and that soon go away, as far as that is known here: nobody is asked.

use std::path::Path;

use jiff::civil::Date;

use crate::config::{Block, ConfigError, Lint, Pipeline};
use crate::provider::{Api, Network, declared, rules, shut_down, today};

use super::train;

/// What goes away within so many days is worth a warning.
const SOON: i32 = 90;

/// What of a pipeline retires soon, by what its providers told last. `told` is the folder in which that is kept.
#[must_use]
pub fn retiring(pipeline: &Pipeline, told: &Path) -> Vec<ConfigError> {
    let network = Network::new(told, None);
    let mut found = Vec::new();
    for stage in &pipeline.stages {
        let block = &stage.block;
        let nodes: &[&str] = match stage.kind {
            "train" => &["model"],
            "evaluate" => &["model", "baseline"],
            _ => continue,
        };
        let at = block.child("provider").map_or(stage.name_span, |provider| provider.span_of("name"));
        let Ok(Some(declared)) = declared(train::provider_name(block), &pipeline.providers) else {
            continue;
        };
        let Api::Hosted(endpoint) = &declared.api else {
            continue;
        };
        let ends = rules(&declared, endpoint).ends.filter(|_| stage.kind == "train");
        if let Some(date) = ends.and_then(|date| date.parse::<Date>().ok()).filter(|date| is_soon(*date)) {
            found.push(Lint::EndingProvider { provider: declared.name.clone(), date: date.to_string(), at: at.into() }.into());
        }
        let models = network.profile(&declared.name).models;
        for node in nodes.iter().filter_map(|node| block.child(node)) {
            let Some(model) = Block::find_text(node, "name").filter(|model| pipeline.stage(model).is_none()) else {
                continue;
            };
            if let Some(date) = shut_down(&models, model).filter(|date| is_soon(*date)) {
                let word = if date <= today() { "was shut down" } else { "is shut down" };
                let (model, date) = (model.to_owned(), date.to_string());
                found.push(Lint::RetiringModel { model, word: word.into(), date, at: node.span_of("name").into() }.into());
            }
        }
    }
    found
}

fn is_soon(date: Date) -> bool {
    (date - today()).get_days() <= SOON
}
