//! Which deployed models retire, when, and who could take their recipe.

use std::sync::Arc;

use serde::Serialize;

use crate::fingerprint::Digest;
use crate::ledger::Alias;
use crate::provider::{Api, Declared, Network, Silent, declared, last_day, rules, wire};
use crate::stage::{model_card, takes};

use super::super::EngineError;
use super::super::recipe::Recipe;
use super::super::workspace::Workspace;
use super::jobs::providers;

/// What becomes of the model that an alias stands for.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Outlook {
    /// The alias.
    pub alias: String,
    /// The model in words.
    pub model: String,
    /// The model that it was made from.
    pub base: String,
    /// The provider.
    pub provider: String,
    /// The day on which the model, or its base, is shut down, where that is known.
    pub retires: Option<String>,
    /// Which of the two.
    pub which: Option<&'static str>,
    /// The last day on which the provider takes new jobs.
    pub no_jobs_after: Option<String>,
    /// What else there is to say.
    pub note: Option<String>,
    /// The providers, declared or built in, that have a field for every setting of the stage that made it.
    pub could_take: Vec<String>,
}

/// Looks at every deployed alias, and asks the providers of their models.
///
/// # Errors
/// When an alias or a model cannot be read. A provider that cannot be asked is only said.
pub async fn lifecycle(recipe: Option<&Recipe>, workspace: &Workspace) -> Result<Vec<Outlook>, EngineError> {
    let network = Arc::new(Network::new(&providers(workspace), None));
    let declarations = recipe.map(Recipe::providers).transpose()?.unwrap_or_default();
    let mut all = Vec::new();
    for alias in Alias::all(&workspace.root)? {
        let Some(version) = alias.now() else {
            continue;
        };
        let card = card_of(workspace, version.artifact);
        let (provider, base, name) = card.unwrap_or_else(|| {
            let (provider, name) = version.model.split_once(' ').unwrap_or(("local", version.model.as_str()));
            (provider.to_owned(), name.to_owned(), name.to_owned())
        });
        let mut outlook = Outlook {
            alias: alias.name.clone(),
            model: version.model.clone(),
            base: base.clone(),
            provider: provider.clone(),
            retires: None,
            which: None,
            no_jobs_after: None,
            note: None,
            could_take: Vec::new(),
        };
        match declared(&provider, &declarations) {
            Ok(Some(Declared { api: Api::Local, .. })) => outlook.note = Some("its files are here: it stays as long as you keep them".into()),
            Ok(Some(declared)) => ask(&declared, &network, &base, &name, &mut outlook).await,
            _ => outlook.note = Some(format!("`{provider}` is not declared in the pipeline")),
        }
        outlook.could_take = recipe.map_or_else(Vec::new, |recipe| takers(recipe, &provider, &declarations));
        all.push(outlook);
    }
    Ok(all)
}

async fn ask(declared: &Declared, network: &Arc<Network>, base: &str, name: &str, outlook: &mut Outlook) {
    let Api::Hosted(endpoint) = &declared.api else {
        outlook.note = Some("a program on this machine has it".into());
        return;
    };
    outlook.no_jobs_after = rules(declared, endpoint).ends.map(str::to_owned);
    match wire(declared, endpoint, network).models(&Silent).await {
        Ok(models) if models.is_empty() => outlook.note = Some("the provider does not say when models retire".into()),
        Ok(models) => {
            if let Some((day, which)) = last_day(&models, name, base) {
                (outlook.retires, outlook.which) = (Some(day.to_string()), Some(which));
            } else if !models.contains_key(name) {
                outlook.note = Some(format!("`{name}` is not among the models that the provider lists"));
            }
        }
        Err(error) => outlook.note = Some(error.to_string()),
    }
}

fn card_of(workspace: &Workspace, artifact: Digest) -> Option<(String, String, String)> {
    let card = model_card(&workspace.store, workspace.store.find_tree(artifact)?).ok()?;
    Some((card.provider, card.base, card.name))
}

/// The other providers that could take the train stage of the pipeline as it is written.
fn takers(recipe: &Recipe, from: &str, declarations: &[crate::config::Block]) -> Vec<String> {
    let Ok(stages) = recipe.train_stages() else {
        return Vec::new();
    };
    let names = declarations.iter().map(|block| block.text("name").to_owned());
    let all: std::collections::BTreeSet<String> = names.chain(crate::provider::BUILT_IN.iter().map(|&name| name.to_owned())).collect();
    let fits = |name: &String| {
        let Ok(Some(declared)) = declared(name, declarations) else {
            return false;
        };
        stages.iter().all(|stage| takes(&declared, stage))
    };
    all.into_iter().filter(|name| name != from && fits(name)).collect()
}
