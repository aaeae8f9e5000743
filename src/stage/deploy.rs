use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::config::{ConfigError, Kind, Setting, Slot, StageDecl, StageName};
use crate::fingerprint::{ActionKey, settings};
use crate::grade::Metrics;
use crate::ledger::{Alias, Version};
use crate::store::RecordOutcome;

use super::action::Settled;
use super::{Action, Compiler, Context, Input, StageError, StageKind, Work, evaluate, train};

static SETTING: Setting = Setting::new("deploy", "Lets an alias stand for a model that passed.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "The stage's name.").without_effect()])
    .children(|| vec![&MODEL, &REQUIRES, &ALIAS]);
static MODEL: Setting = Setting::new("model", "The model.").once().arguments(&[Slot::new("stage", Kind::Stage(&["train"]), "A train stage.")]);
static REQUIRES: Setting = Setting::new("requires", "A verdict without which nothing is deployed.").many().arguments(&[Slot::new(
    "stage",
    Kind::Stage(&["evaluate"]),
    "An evaluate stage that judges the same model.",
)]);
static ALIAS: Setting =
    Setting::new("alias", "The name that users of the model know.").once().arguments(&[Slot::new("name", Kind::Text, "Letters, digits, `-`, `_` and `.`.")]);

pub const KIND: StageKind = StageKind { setting: &SETTING, compile };

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
        for output in [evaluate::VERDICT, evaluate::METRICS] {
            inputs.push(Input::output(format!("{output} {}", judge.name), &judge.name, output));
        }
        required.push(judge.name.clone());
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
    let action = Action {
        name: "deploy",
        version: VERSION,
        settings: settings(block, &compiler.pipeline.file),
        context: BTreeMap::new(),
        inputs,
        outputs: Vec::new(),
        appears: false,
        effect: true,
        work: Box::new(Deploy { alias: alias.to_owned(), required }),
    };
    Ok(vec![action])
}

#[derive(Debug)]
struct Deploy {
    alias: String,
    required: Vec<StageName>,
}

#[async_trait]
impl Work for Deploy {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let artifact = context.artifact("model")?;
        let model = train::described(&train::load(context.store, artifact)?.card);
        let mut metrics = BTreeMap::new();
        let mut verdicts = BTreeMap::new();
        for stage in &self.required {
            let verdict = context.artifact(&format!("{} {stage}", evaluate::VERDICT))?;
            verdicts.insert(stage.to_string(), verdict.digest());
            let found: Metrics = serde_json::from_slice(&context.read(&format!("{} {stage}", evaluate::METRICS))?)
                .map_err(|error| StageError::Unreadable { what: "the metrics", problem: error.to_string() })?;
            metrics.extend(found);
        }
        let mut alias = Alias::read(context.workspace, &self.alias)?;
        alias.deploy(Version {
            fingerprint: context.key,
            model: model.clone(),
            artifact: artifact.digest(),
            verdicts,
            metrics,
            deployed: Timestamp::now(),
            rolled_back: None,
        });
        alias.write(context.workspace)?;
        let note = format!("`{}` is version {} now: {model}", self.alias, alias.current);
        context.watch.note(&note);
        Ok(RecordOutcome { model: Some(model), ..RecordOutcome::default() })
    }

    fn settled(&self, workspace: &Path, key: ActionKey) -> Result<Option<Settled>, StageError> {
        let alias = Alias::read(workspace, &self.alias)?;
        if alias.now().is_some_and(|version| version.fingerprint == key) {
            return Ok(Some(Settled { note: None }));
        }
        // Somebody went back from this very version: doing the same again must be asked for.
        let returned = alias.versions.iter().rposition(|version| version.fingerprint == key && version.rolled_back.is_some());
        Ok(returned.map(|index| Settled {
            note: Some(format!("version {} of `{}` is this result and was rolled back; `--force` deploys it again", index + 1, self.alias)),
        }))
    }
}
