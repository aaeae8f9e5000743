//! The models that there are: what each alias stands for, read anew when its file changes, and the base model of the local engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Block, StageName};
use crate::engine::Workspace;
use crate::fingerprint::Digest;
use crate::ledger::{Alias, Version};
use crate::model::{Model, TINY, fetch_now};
use crate::provider::{Api, Declared, ModelCard, ModelHandle, Network, Onward, declared};
use crate::stage;

use super::arm::Arm;
use super::local::Engine;
use super::refusal::Refusal;
use super::stamp::Stamp;
use super::tuning::{Job, Jobs, Made};
use super::upstream::{Provider, Upstream};

/// Where requests for a model go.
#[derive(Clone, Debug)]
pub enum Route {
    /// To a model in this process.
    Here(Arc<Engine>),
    /// To a provider.
    There(Upstream),
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Named {
    /// The base model.
    Base,
    /// What a job made.
    Tuned(Box<(Job, Made)>),
    /// An alias and the place among its versions.
    Version(Arc<Alias>, usize),
}

/// What a request goes to.
#[derive(Clone, Debug)]
pub struct Chosen {
    named: Named,
    /// Which of two versions it is, where one is tried.
    pub arm: Option<Arm>,
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
    jobs: Arc<Jobs>,
    network: Arc<Network>,
    queue: usize,
    aliases: Mutex<BTreeMap<String, (Stamp, Arc<Alias>)>>,
    /// What is loaded, by the content of what was tuned; the base model has none. Two aliases of one model share it.
    engines: Mutex<BTreeMap<Option<Digest>, Arc<Engine>>>,
    /// The ways to providers, which all of their models share.
    ways: Mutex<BTreeMap<String, Arc<Provider>>>,
}

impl Catalog {
    pub fn new(workspace: Workspace, providers: Vec<Block>, jobs: Arc<Jobs>, queue: usize) -> Self {
        let (aliases, engines, ways) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { workspace, providers, jobs, network: Arc::default(), queue, aliases, engines, ways }
    }

    /// The models that there are. An alias whose file cannot be read is left out, unless it could be before.
    pub fn list(&self) -> Vec<Listed> {
        let aliases = Alias::names(&self.workspace.root);
        let tuned = self.jobs.models().into_iter().map(|(name, created)| Listed { name, created: created.cast_signed(), owner: LOCAL.to_owned() });
        aliases.iter().filter_map(|name| self.listed(name).ok()).chain(self.listed(TINY)).chain(tuned).collect()
    }

    /// A model as the list has it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn listed(&self, name: &str) -> Result<Listed, Refusal> {
        if name == TINY {
            return Ok(Listed { name: TINY.to_owned(), created: 0, owner: LOCAL.to_owned() });
        }
        if let Some(job) = self.jobs.of_model(name) {
            return Ok(Listed { name: name.to_owned(), created: job.created_at.cast_signed(), owner: LOCAL.to_owned() });
        }
        let (alias, place) = self.named(name)?;
        let version = &alias.versions[place];
        let owner = version.served.as_ref().map_or(LOCAL, |served| served.provider.as_str());
        Ok(Listed { name: name.to_owned(), created: version.deployed.as_second(), owner: owner.to_owned() })
    }

    /// What a request goes to by the name of a model: an alias, of which one version may be tried beside another, `ALIAS@VERSION`, what a
    /// job made, or the base model.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn choose(&self, name: &str, request: &str) -> Result<Chosen, Refusal> {
        if let Some(named) = self.unversioned(name) {
            return Ok(Chosen { named, arm: None });
        }
        let (alias, mut place) = self.named(name)?;
        let trial = alias.trial.as_ref().filter(|trial| !name.contains('@') && alias.version(trial.version).is_some_and(|tried| tried.deleted.is_none()));
        let arm = trial.and_then(|_| Arm::draw(&alias, request));
        if let Some(arm) = arm.as_ref().filter(|arm| arm.is_tried) {
            place = arm.trial.version as usize - 1;
        }
        Ok(Chosen { named: Named::Version(alias, place), arm })
    }

    /// Where requests for a model go by its very name.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be loaded.
    pub fn route(&self, name: &str) -> Result<Route, Refusal> {
        let named = match self.unversioned(name) {
            Some(named) => named,
            None => self.named(name).map(|(alias, place)| Named::Version(alias, place))?,
        };
        self.open(&Chosen { named, arm: None })
    }

    /// Where a request goes.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn open(&self, chosen: &Chosen) -> Result<Route, Refusal> {
        match &chosen.named {
            Named::Base => {
                let card = ModelCard { provider: LOCAL.into(), base: TINY.into(), name: String::new(), digest: None };
                self.engine(None, || Ok(ModelHandle { card, files: BTreeMap::new() }))
            }
            Named::Tuned(tuned) => {
                let (job, made) = &**tuned;
                self.engine(Some(made.digest), || self.jobs.model(job, &made.card).map_err(|error| Refusal::Broken { problem: error.to_string() }))
            }
            Named::Version(alias, place) => self.version(&alias.versions[*place]),
        }
    }

    /// A model whose name is no alias.
    fn unversioned(&self, name: &str) -> Option<Named> {
        if name == TINY {
            return Some(Named::Base);
        }
        let job = self.jobs.of_model(name)?;
        let made = job.made.clone()?;
        Some(Named::Tuned(Box::new((job, made))))
    }

    /// The alias and the place among its versions that a name stands for, whose model is still there.
    fn named(&self, name: &str) -> Result<(Arc<Alias>, usize), Refusal> {
        let unknown = || Refusal::NoModel { name: name.to_owned() };
        let (alias, number) = match name.split_once('@') {
            Some((alias, number)) => (alias, Some(number.parse::<usize>().ok().filter(|parsed| parsed.to_string() == number).ok_or_else(unknown)?)),
            None => (name, None),
        };
        let alias = self.alias(alias)?;
        let number = number.unwrap_or(alias.current as usize);
        let place = number.checked_sub(1).filter(|place| alias.versions.get(*place).is_some_and(|version| version.deleted.is_none()));
        Ok((alias, place.ok_or_else(unknown)?))
    }

    /// An alias as its file has it now; one that cannot be read just now stays what it was.
    fn alias(&self, name: &str) -> Result<Arc<Alias>, Refusal> {
        // What is no name of an alias is no name of a file either.
        let is_name = StageName::new(name).is_some();
        let stamp = if is_name { Stamp::of(&Alias::path(&self.workspace.root, name)) } else { None };
        let stamp = stamp.ok_or_else(|| Refusal::NoModel { name: name.to_owned() })?;
        let mut aliases = self.aliases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, alias)) = aliases.get(name).filter(|(known, _)| *known == stamp) {
            return Ok(Arc::clone(alias));
        }
        match Alias::read(&self.workspace.root, name) {
            // One that went back to nothing has versions, and none that holds.
            Ok(alias) if !alias.versions.is_empty() => {
                let alias = Arc::new(alias);
                aliases.insert(name.to_owned(), (stamp, Arc::clone(&alias)));
                Ok(alias)
            }
            read => {
                let problem = read.err().map_or_else(|| format!("the file of the alias `{name}` is not whole"), |error| error.to_string());
                aliases.get(name).map(|(_, alias)| Arc::clone(alias)).ok_or(Refusal::Broken { problem })
            }
        }
    }

    fn version(&self, version: &Version) -> Result<Route, Refusal> {
        let broken = |problem: String| Refusal::Broken { problem };
        let provider = version.served.as_ref().map_or(LOCAL, |served| served.provider.as_str());
        let declared = declared(provider, &self.providers).map_err(|error| broken(error.to_string()))?;
        let declared: Declared = declared.ok_or_else(|| broken(format!("the provider `{provider}` is not declared in the pipeline")))?;
        match (&declared.api, &version.served) {
            (Api::Local, _) => self.engine(Some(version.artifact), || {
                let store = &self.workspace.store;
                let model = store.find_tree(version.artifact);
                let model = model.ok_or_else(|| broken(format!("the files of this model ({}) are not in the store", version.artifact.short())))?;
                stage::load_model(store, model).map_err(|error| broken(error.to_string()))
            }),
            (Api::Hosted(endpoint), Some(served)) => {
                let model = if served.name.is_empty() { &served.base } else { &served.name };
                let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
                let way = ways.entry(provider.to_owned()).or_insert_with(|| {
                    let onward = Onward::new(&declared, endpoint, &self.network);
                    Arc::new(Provider::new(onward, self.queue))
                });
                Ok(Route::There(Upstream { provider: Arc::clone(way), model: model.clone() }))
            }
            _ => Err(broken(format!("what `{provider}` made cannot be asked from here"))),
        }
    }

    /// The engine of a model that is loaded already, or is loaded now. Those that nobody uses go when there are many.
    fn engine(&self, identity: Option<Digest>, model: impl FnOnce() -> Result<ModelHandle, Refusal>) -> Result<Route, Refusal> {
        let engines = || self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines().get(&identity).filter(|engine| !engine.is_over()) {
            return Ok(Route::Here(Arc::clone(engine)));
        }
        // Nobody else waits for it; two that load the same at once do no harm.
        let loaded = tokio::task::block_in_place(|| {
            let broken = |problem: String| Refusal::Broken { problem };
            let (handle, root) = (model()?, &self.workspace.root);
            let model = fetch_now(&handle.card.base, root).and_then(|()| Model::open(&handle, root)).map_err(|error| broken(error.to_string()))?;
            Engine::start(model, self.queue).map_err(|error| broken(error.to_string()))
        })?;
        let loaded = Arc::new(loaded);
        let mut engines = engines();
        if engines.len() >= LOADED {
            engines.retain(|_, engine| Arc::strong_count(engine) > 1);
        }
        engines.insert(identity, Arc::clone(&loaded));
        Ok(Route::Here(loaded))
    }
}

/// Who has what is tuned here.
const LOCAL: &str = "local";

/// So many models may be loaded before those that nobody uses are let go of.
const LOADED: usize = 8;
