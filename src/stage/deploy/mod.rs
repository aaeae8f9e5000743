mod card;
mod live;
mod outlives;
mod outward;
mod tallies;
mod target;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{Block, ConfigError, Kind, Setting, Slot, StageDecl, StageName};
use crate::fingerprint::{ActionKey, settings};
use crate::grade::{Metrics, Verdict};
use crate::graph::same_for_all;
use crate::ledger::{Alias, LiveCheck as Seen, Served, ServedAt, Trial, Version};
use crate::provider::{Api, ModelCard, ProviderError};
use crate::store::{Record, RecordOutcome, Store, write_atomically};

use super::action::{Effect, given};
use super::made::made_by;
use super::{Action, Compiler, Context, Given, Input, StageError, StageKind, Work, evaluate, providers, scheduling, train};
use card::Card;
use live::{LiveCheck, Prepared};
use outlives::Outlives;
use target::Targets;

pub use outward::inform;
pub use tallies::{Beside, Decision, Tallies};
pub use trial::live_graders;

static SETTING: Setting = Setting::new("deploy", "Lets an alias stand for a model that passed.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| {
        scheduling::with(&[
            &MODEL,
            &REQUIRES,
            &ALIAS,
            &outlives::SETTING,
            &target::TARGET,
            &target::EXPORT,
            &target::WEBHOOK,
            &target::AZURE,
            &live::SETTING,
            &trial::CANARY,
            &trial::SHADOW,
            &card::SETTING,
        ])
    });
static MODEL: Setting =
    Setting::new("model", "The model.").once().arguments(&[Slot::new("stage", Kind::Stage(&["train", "select"]), "A train or select stage.")]);
static REQUIRES: Setting = Setting::new("requires", "A verdict without which nothing is deployed.").many().arguments(&[Slot::new(
    "stage",
    Kind::Stage(&["evaluate"]),
    "An evaluate stage that judges the same model.",
)]);
static ALIAS: Setting =
    Setting::new("alias", "The name that users of the model know.").once().arguments(&[Slot::new("name", Kind::Text, "Letters, digits, `-`, `_` and `.`.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile, is_end: true };

const VERSION: u32 = 1;

fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let block = &stage.block;
    let model = block.child_text("model").unwrap_or_default();
    let mut inputs: Vec<Input> = compiler.pipeline.stage(model).map(|stage| Input::output("model", &stage.name, train::MODEL_OUTPUT)).into_iter().collect();
    let mut required = Vec::new();
    for requires in block.all("requires") {
        let Some(judge) = compiler.pipeline.stage(requires.text("stage")) else {
            continue;
        };
        let judged = evaluate::judged(&judge.block);
        if judged != model {
            return Err(ConfigError::Contradiction {
                problem: format!("`{}` judges `{judged}`, and `{model}` is to be deployed", judge.name),
                label: "a verdict on another model".into(),
                at: requires.span_of("stage").into(),
                help: format!("require an evaluate stage with `model \"{model}\"`"),
            });
        }
        inputs.push(Input::output(format!("{} {}", evaluate::VERDICT, judge.name), &judge.name, evaluate::VERDICT));
        let mut figures = Vec::new();
        for (suite, output) in evaluate::figures(&judge.block) {
            let role = format!("{output} of {}", judge.name);
            inputs.push(Input::output(&role, &judge.name, output));
            figures.push((suite, role));
        }
        required.push(Required { stage: judge.name.clone(), figures });
    }
    let alias = block.child_text("alias").unwrap_or_default();
    if StageName::new(alias).is_none() {
        let at = block.child("alias").map_or(stage.name_span, |child| child.span_of("name"));
        return Err(ConfigError::Contradiction {
            problem: format!("`{alias}` cannot be an alias"),
            label: "not a name".into(),
            at: at.into(),
            help: "use letters, digits, `-`, `_` and `.`, at most 100 of them".into(),
        });
    }
    let is_instance = |other: &&StageDecl| other.name_span == stage.name_span && other.name != stage.name;
    if compiler.pipeline.stages.iter().filter(is_instance).any(|other| other.block.child_text("alias") == Some(alias)) {
        let at = block.child("alias").map_or(stage.name_span, |child| child.span_of("name"));
        return Err(same_for_all(&format!("deploy to `{alias}`"), at, stage).into());
    }
    let targets = target::targets(stage, compiler)?;
    let judge = required.first().and_then(|judge| compiler.pipeline.stage(judge.stage.as_str()));
    let (live, more) = live::live_check(stage, judge, compiler)?.unzip();
    inputs.extend(more.into_iter().flatten());
    let (card, more) = card::card(stage, made_by(model, compiler), compiler).unzip();
    inputs.extend(more.into_iter().flatten());
    let action = Action {
        name: "deploy".to_owned(),
        version: VERSION,
        settings: settings(block, &compiler.pipeline.file),
        context: live.iter().filter_map(LiveCheck::context).collect(),
        inputs,
        outputs: Vec::new(),
        appears: false,
        builds_on_last: false,
        refresh: None,
        effect: true,
        work: Box::new(Deploy {
            alias: alias.to_owned(),
            required,
            targets,
            declarations: compiler.pipeline.providers.clone(),
            outlives: outlives::outlives(stage, compiler),
            live,
            trial: trial::trial(stage)?,
            card,
        }),
    };
    Ok(vec![action])
}

/// A stage whose verdict must be a pass.
#[derive(Debug)]
struct Required {
    stage: StageName,
    /// The inputs with its figures: its own, and by suite.
    figures: Vec<(Option<String>, String)>,
}

impl Required {
    /// All its figures, those of suites by the names of these.
    fn metrics(&self, store: &Store, inputs: &BTreeMap<String, Given>) -> Result<Metrics, StageError> {
        let mut all = Metrics::new();
        for (suite, role) in &self.figures {
            let found: Metrics = serde_json::from_slice(&store.read(given(inputs, role)?)?)
                .map_err(|error| StageError::Unreadable { what: "the metrics", problem: error.to_string() })?;
            let named = |name: String| suite.as_ref().map_or_else(|| name.clone(), |suite| format!("{suite}.{name}"));
            all.extend(found.into_iter().map(|(name, value)| (named(name), value)));
        }
        Ok(all)
    }
}

#[derive(Debug)]
struct Deploy {
    alias: String,
    required: Vec<Required>,
    targets: Targets,
    /// The providers that the pipeline declares.
    declarations: Vec<Block>,
    outlives: Option<Outlives>,
    live: Option<LiveCheck>,
    trial: Option<Trial>,
    card: Option<Card>,
}

#[async_trait]
impl Work for Deploy {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        if let Some(outlives) = &self.outlives {
            outlives.hold(&train::card(context.store, context.artifact("model")?)?, context).await?;
        }
        let version = self.version(context.store, context.key, context.inputs, Timestamp::now())?;
        let model = version.model.clone();
        // Whatever may fail for other reasons than its answers does so before the switch.
        let live = self.live.as_ref().map(|live| live.prepare(context)).transpose()?;
        let known = Alias::read(context.workspace, &self.alias)?;
        let is_new = known.now().is_none_or(|now| now.artifact != version.artifact);
        let known = Targets { files: known.targets, outward: known.outward.into_iter().map(|outward| outward.way).collect() };
        let is_ours = |path: &str| known.paths().any(|known| known == path);
        if let Some(path) = self.targets.paths().find(|path| !is_ours(path) && context.workspace.join(path).exists()) {
            // Whatever lies there is somebody's.
            return Err(StageError::TargetTaken { path: context.workspace.join(path) });
        }
        if is_new {
            outward::rehearse(context.store, context.workspace, &self.alias, &self.targets.outward, &version).await?;
        }
        let alias = Alias::change(context.store, context.workspace, &self.alias, |alias| {
            self.set(alias, context.workspace);
            self.place(alias, Version { live: self.live.as_ref().map(|_| Seen::Open), ..version });
            Ok(())
        })?;
        context.watch.note(&match &alias.trial {
            Some(trial) => format!("`{}` tries version {} ({}) beside version {}: {model}", self.alias, trial.version, trial.told(), alias.current),
            None => format!("`{}` is version {} now: {model}", self.alias, alias.current),
        });
        self.tell(&alias, context)?;
        self.look(&alias, live, context).await?;
        outward::inform_all(context.store, context.workspace, &self.alias).await?;
        Ok(RecordOutcome { model: Some(model), ..RecordOutcome::default() })
    }

    fn effect(&self, workspace: &Path, inputs: &BTreeMap<String, Given>) -> Result<Effect, StageError> {
        let alias = Alias::read(workspace, &self.alias)?;
        if alias.versions.is_empty() {
            return Ok(Effect::Gone);
        }
        let model = given(inputs, "model")?.digest();
        let latest = alias.version(alias.latest()).filter(|version| version.artifact == model);
        if let Some(version) = latest {
            let is_told = alias.targets == self.targets.files
                && alias.outward == self.targets.told(alias.current)
                && alias.is_told(workspace)
                && self.has_copies(workspace);
            let is_open = self.live.is_some() && version.live == Some(Seen::Open);
            let has_card = self.card.is_none() || Alias::card(workspace, &self.alias, alias.latest()).is_file();
            let is_tried_so = alias.trial.as_ref().is_none_or(|open| {
                self.trial.as_ref().is_some_and(|wanted| (open.share, &open.way, &open.graders) == (wanted.share, &wanted.way, &wanted.graders))
            });
            return Ok(if is_told && has_card && is_tried_so && !is_open { Effect::There(None) } else { Effect::Absent });
        }
        if alias.now().is_some_and(|version| version.artifact == model) {
            // Another one is tried beside it, and no more.
            return Ok(Effect::Absent);
        }
        // Somebody went back from this very model: doing the same again must be asked for.
        let returned = alias.versions.iter().rposition(|version| version.artifact == model && version.rolled_back.is_some());
        Ok(returned.map_or(Effect::Absent, |index| {
            let untold =
                if self.targets.told(alias.current) == alias.outward { "" } else { ", and `retune deployments --tell` tells those who do not know yet" };
            Effect::There(Some(format!("version {} of `{}` is this model and was rolled back; `--force` deploys it again{untold}", index + 1, self.alias)))
        }))
    }

    fn restore(&self, workspace: &Path, store: &Store, record: &Record, inputs: &BTreeMap<String, Given>) -> Result<(), StageError> {
        let version = self.version(store, record.key, inputs, record.finished)?;
        Alias::change(store, workspace, &self.alias, |alias| {
            self.set(alias, workspace);
            if alias.versions.is_empty() {
                alias.deploy(version, None);
            }
            Ok(())
        })?;
        Ok(())
    }
}

impl Deploy {
    /// Lets an alias know whom it tells.
    fn set(&self, alias: &mut Alias, workspace: &Path) {
        alias.targets.clone_from(&self.targets.files);
        alias.outward = self.targets.outward(&alias.outward, workspace);
    }

    /// Whether the copies of the model are there; one that is gone is written again.
    fn has_copies(&self, workspace: &Path) -> bool {
        self.targets.paths().all(|path| workspace.join(path).exists())
    }

    /// Lets an alias stand for a version, or tries it. Where it does that already, only who is told of it and how it is tried changes.
    fn place(&self, alias: &mut Alias, version: Version) {
        let is_same = |known: Option<&Version>| known.is_some_and(|known| known.artifact == version.artifact);
        let tried = alias.trial.as_ref().map(|open| open.version).filter(|tried| is_same(alias.version(*tried)));
        match (tried, &self.trial) {
            (Some(tried), Some(wanted)) => alias.trial = Some(Trial { version: tried, ..wanted.clone() }),
            (Some(_), None) => alias.promote(),
            (None, _) if is_same(alias.now()) => {
                alias.end_trial(version.deployed, Some("the current version is what is declared".to_owned()));
            }
            // There is nothing yet beside which it could be tried.
            (None, wanted) => alias.deploy(version, wanted.clone().filter(|_| alias.current > 0)),
        }
    }

    /// Writes the card of the version, where one is wanted and there is none.
    fn tell(&self, alias: &Alias, context: &Context<'_>) -> Result<(), StageError> {
        let (Some(card), Some(version)) = (&self.card, alias.version(alias.latest())) else {
            return Ok(());
        };
        let place = Alias::card(context.workspace, &self.alias, alias.latest());
        if place.is_file() {
            return Ok(());
        }
        let text = card.render(&self.alias, alias.latest(), version, &self.required, context)?;
        write_atomically(&place, text.as_bytes())?;
        Ok(())
    }

    /// Looks at what the alias answers, where that is wanted and was not done, and goes back where it is not what was judged.
    async fn look(&self, alias: &Alias, prepared: Option<Prepared>, context: &Context<'_>) -> Result<(), StageError> {
        let (Some(live), Some(prepared), Some(version)) = (&self.live, prepared, alias.version(alias.latest())) else {
            return Ok(());
        };
        if version.live != Some(Seen::Open) {
            context.watch.unspent();
            return Ok(());
        }
        let (artifact, latest) = (version.artifact, alias.latest());
        let named = if alias.trial.is_some() { format!("{}@{latest}", self.alias) } else { self.alias.clone() };
        let found = live.look(&named, prepared, context).await;
        let problem = match found {
            Ok(looked) if live.holds(&looked) => {
                context.watch.note(&format!("`{}` answers as it was judged: {} of {} answers are the same", self.alias, looked.same, looked.asked));
                None
            }
            Ok(looked) => {
                let [question, before, now] = looked.other.unwrap_or_default();
                Some(format!(
                    "{} of {} answers are the same; to {question:?} it said {before:?} when it was judged, and {now:?} now",
                    looked.same, looked.asked
                ))
            }
            // Whoever serves it does not.
            Err(StageError::Provider(error @ (ProviderError::Refused { .. } | ProviderError::Unreachable { .. } | ProviderError::Unexpected { .. }))) => {
                context.watch.unspent();
                Some(error.to_string())
            }
            // Nobody knows yet: the next run looks again.
            Err(error) => {
                context.watch.unspent();
                return Err(error);
            }
        };
        let after = Alias::change(context.store, context.workspace, &self.alias, |alias| {
            // Whoever changed it meanwhile knows better.
            if alias.latest() == latest && alias.version(latest).is_some_and(|now| now.artifact == artifact) {
                alias.looked(problem.is_none(), Timestamp::now());
            }
            Ok(())
        })?;
        problem.map_or(Ok(()), |problem| Err(StageError::LiveCheck { alias: self.alias.clone(), version: latest, back: after.current, problem }))
    }

    /// Where a model is, and how programs ask it without us.
    fn served(&self, card: ModelCard) -> Served {
        // A provider that is declared no more is no reason to deploy nothing: its models may be known to others.
        let declared = providers::of_card(&card, &self.declarations).ok();
        let at = declared.and_then(|declared| match &declared.api {
            Api::Hosted(endpoint) => {
                let name = if card.name.is_empty() { &card.base } else { &card.name };
                let (api, url, asked_as) = (endpoint.api().to_owned(), endpoint.base_url.clone(), endpoint.asked_as(name).to_owned());
                Some(ServedAt { api, url, asked_as, key: declared.key.named().map(str::to_owned) })
            }
            Api::Local | Api::Command(_) => None,
        });
        Served { provider: card.provider, base: card.base, name: card.name, at }
    }

    fn version(&self, store: &Store, key: ActionKey, inputs: &BTreeMap<String, Given>, deployed: Timestamp) -> Result<Version, StageError> {
        let artifact = given(inputs, "model")?;
        let card = train::card(store, artifact)?;
        let model = train::described(&card);
        let served = Some(self.served(card));
        let (mut metrics, mut verdicts) = (BTreeMap::new(), BTreeMap::new());
        for required in &self.required {
            let stage = &required.stage;
            let verdict = given(inputs, &format!("{} {stage}", evaluate::VERDICT))?;
            let said: Verdict =
                serde_json::from_slice(&store.read(verdict)?).map_err(|error| StageError::Unreadable { what: "the verdict", problem: error.to_string() })?;
            if said.model.is_some_and(|judged| judged != artifact.digest().to_string()) {
                return Err(StageError::StaleVerdict { stage: stage.to_string() });
            }
            verdicts.insert(stage.to_string(), verdict.digest());
            metrics.extend(required.metrics(store, inputs)?);
        }
        Ok(Version {
            fingerprint: key,
            model,
            served,
            artifact: artifact.digest(),
            verdicts,
            metrics,
            deployed,
            rolled_back: None,
            why: None,
            deleted: None,
            live: None,
        })
    }
}
