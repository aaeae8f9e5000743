//! The models that there are: what each alias stands for, read anew when its file changes, and the base model of the local engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::config::Block;
use crate::engine::Workspace;
use crate::fingerprint::Digest;
use crate::ledger::{Alias, Version};
use crate::model::{TINY, weights};
use crate::provider::{Api, Declared, ModelCard, ModelHandle, Onward, declared};
use crate::stage;

use super::local::Engine;
use super::refusal::Refusal;
use super::upstream::Upstream;

/// Where requests for a model go.
#[derive(Clone, Debug)]
pub enum Route {
    /// To a model in this process.
    Here(Arc<Engine>),
    /// To a provider.
    There(Arc<Upstream>),
}

/// A model in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// When it was deployed, in seconds since 1970.
    pub created: i64,
    /// Who has it.
    pub owner: String,
}

/// All models.
#[derive(Debug)]
pub struct Catalog {
    workspace: Workspace,
    providers: Vec<Block>,
    queue: usize,
    aliases: Mutex<BTreeMap<String, (Stamp, Arc<Alias>)>>,
    /// What is loaded, by content: two aliases of one model share it, and what was loaded stays while it is used.
    routes: Mutex<BTreeMap<Identity, Route>>,
}

/// Which model it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Base,
    Tuned(Digest),
    Hosted { provider: String, model: String },
}

/// The time and size of a file.
type Stamp = (SystemTime, u64);

impl Catalog {
    pub fn new(workspace: Workspace, providers: Vec<Block>, queue: usize) -> Self {
        Self { workspace, providers, queue, aliases: Mutex::default(), routes: Mutex::default() }
    }

    /// The models that there are.
    ///
    /// # Errors
    /// When an alias cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, Refusal> {
        let all = Alias::all(&self.workspace.root).map_err(|error| Refusal::Broken { problem: error.to_string() })?;
        let aliases = all.iter().filter_map(|alias| {
            let now = alias.now()?;
            let owner = now.served.as_ref().map_or("local", |served| served.provider.as_str());
            Some(Listed { name: alias.name.clone(), created: now.deployed.as_second(), owner: owner.to_owned() })
        });
        Ok(aliases.chain([Listed { name: TINY.to_owned(), created: 0, owner: "local".to_owned() }]).collect())
    }

    /// Where requests for a model go: by an alias, `ALIAS@VERSION`, or the name of the base model.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be loaded.
    pub fn route(&self, name: &str) -> Result<Route, Refusal> {
        if name == TINY {
            let base = ModelHandle { card: ModelCard { provider: "local".into(), base: TINY.into(), name: String::new() }, files: BTreeMap::new() };
            return self.found(Identity::Base, || self.engine(&base));
        }
        let (alias, number) = match name.split_once('@') {
            Some((alias, number)) => (alias, Some(number.parse::<usize>().map_err(|_| Refusal::NoModel { name: name.to_owned() })?)),
            None => (name, None),
        };
        let alias = self.alias(alias)?;
        let version = match number {
            Some(number) => number.checked_sub(1).and_then(|index| alias.versions.get(index)),
            None => alias.now(),
        };
        self.version(version.ok_or_else(|| Refusal::NoModel { name: name.to_owned() })?)
    }

    /// An alias as its file has it now.
    fn alias(&self, name: &str) -> Result<Arc<Alias>, Refusal> {
        let unknown = || Refusal::NoModel { name: name.to_owned() };
        // What is no name of an alias is no name of a file either.
        let is_name = crate::config::StageName::new(name).is_some();
        let path: PathBuf = self.workspace.root.join("deployments").join(format!("{name}.kdl"));
        let state = if is_name { std::fs::metadata(path).ok() } else { None };
        let state = state.ok_or_else(unknown)?;
        let stamp = (state.modified().unwrap_or(SystemTime::UNIX_EPOCH), state.len());
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, alias)) = aliases.get(name).filter(|(known, _)| *known == stamp) {
            return Ok(Arc::clone(alias));
        }
        let alias = Alias::read(&self.workspace.root, name).map_err(|error| Refusal::Broken { problem: error.to_string() })?;
        let alias = Arc::new(alias);
        aliases.insert(name.to_owned(), (stamp, Arc::clone(&alias)));
        Ok(alias)
    }

    fn version(&self, version: &Version) -> Result<Route, Refusal> {
        let broken = |problem: String| Refusal::Broken { problem };
        if version.deleted.is_some() {
            return Err(broken(format!("{} was deleted at its provider", version.model)));
        }
        let local = "local".to_owned();
        let provider = version.served.as_ref().map_or(&local, |served| &served.provider);
        let declared = declared(provider, &self.providers).map_err(|error| broken(error.to_string()))?;
        let declared: Declared = declared.ok_or_else(|| broken(format!("the provider `{provider}` is not declared in the pipeline")))?;
        match (&declared.api, &version.served) {
            (Api::Local, _) => self.found(Identity::Tuned(version.artifact), || {
                let store = &self.workspace.store;
                let model = store.find_tree(version.artifact);
                let model = model.ok_or_else(|| broken(format!("the files of this model ({}) are not in the store", version.artifact.short())))?;
                self.engine(&stage::load_model(store, model).map_err(|error| broken(error.to_string()))?)
            }),
            (Api::Hosted(endpoint), Some(served)) => {
                let model = if served.name.is_empty() { &served.base } else { &served.name };
                let identity = Identity::Hosted { provider: provider.clone(), model: model.clone() };
                self.found(identity, || Ok(Route::There(Arc::new(Upstream::new(Onward::new(&declared, endpoint), model.clone(), self.queue)))))
            }
            _ => Err(broken(format!("what `{provider}` made cannot be asked from here"))),
        }
    }

    fn engine(&self, model: &ModelHandle) -> Result<Route, Refusal> {
        let broken = |problem: String| Refusal::Broken { problem };
        let weights = weights(model).map_err(|error| broken(error.to_string()))?;
        let engine = Engine::start(weights, self.queue).map_err(|error| broken(error.to_string()))?;
        Ok(Route::Here(Arc::new(engine)))
    }

    /// What is loaded already, or is loaded now. Models that no alias stands for any more go when they are not used.
    fn found(&self, identity: Identity, load: impl FnOnce() -> Result<Route, Refusal>) -> Result<Route, Refusal> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.get(&identity) {
            return Ok(route.clone());
        }
        let route = tokio::task::block_in_place(load)?;
        if routes.len() >= LOADED {
            routes.retain(|_, route| route.is_used());
        }
        routes.insert(identity, route.clone());
        Ok(route)
    }
}

/// So many models may be loaded before those that nobody uses are let go of.
const LOADED: usize = 8;

impl Route {
    fn is_used(&self) -> bool {
        match self {
            Self::Here(engine) => Arc::strong_count(engine) > 1,
            Self::There(upstream) => Arc::strong_count(upstream) > 1,
        }
    }
}
