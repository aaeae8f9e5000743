//! An outside program that trains and answers: files in, adapter and metrics out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::plain;
use crate::data::write_lines;
use crate::provider::{
    Answered, Decay, Generation, Method, ModelCard, ModelHandle, Program as Declared, ProviderError, Question, Taught, TuningRequest, TuningResult,
};

use super::super::exec::{Launch, Program, Sandbox, figures, files, launch, lay};
use super::super::{Context, Given, StageError};
use super::card::CARD;
use super::start;

/// What a program finds in its folder, and leaves there.
const TRAIN: &str = "train.jsonl";
const VALIDATION: &str = "validation.jsonl";
const MODEL: &str = "model";
const METRICS: &str = "metrics.json";
const LOSSES: &str = "losses.csv";
const QUESTIONS: &str = "questions.jsonl";
const ANSWERS: &str = "answers.jsonl";

/// Lets a program train. Its folder holds `train.jsonl`, `validation.jsonl` and the rendered config; it leaves the folder `model`,
/// and may leave `metrics.json` and `losses.csv`.
pub async fn train(program: &Declared, provider: &str, request: &TuningRequest, context: &Context<'_>) -> Result<(TuningResult, PathBuf), StageError> {
    let folder = context.folder.join("program");
    let place = |name: &str| folder.join(name);
    let io = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| StageError::Io { doing, path, source }
    };
    std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    std::fs::copy(&request.train, place(TRAIN)).map_err(io("copy", &request.train))?;
    match &request.validation {
        Some(validation) => std::fs::copy(validation, place(VALIDATION)).map(drop).map_err(io("copy", validation))?,
        None => std::fs::write(place(VALIDATION), "").map_err(io("write", &place(VALIDATION)))?,
    }
    if let Some(template) = &program.config {
        let source = context.file(template)?;
        let text = std::fs::read_to_string(&source).map_err(io("read", &source))?;
        let name = Path::new(template).file_name().unwrap_or_default();
        let rendered = render(&text, request).map_err(|(problem, names)| StageError::BadTemplate { file: template.clone(), problem, names })?;
        std::fs::write(folder.join(name), rendered).map_err(io("write", &folder.join(name)))?;
    }
    // As links into the store: a model may be larger than the memory.
    let begun = context.artifact(start::MODEL).ok();
    if let Some(artifact) = begun {
        context.store.link(artifact, &place(start::FOLDER))?;
        let card = place(start::FOLDER).join(CARD);
        std::fs::remove_file(&card).map_err(io("remove", &card))?;
    }
    lay(context, of(program, context), &folder)?;
    let line = Program::Shell(program.train.clone());
    let environment = variables(program);
    let before = files(&place(start::FOLDER));
    launch(Launch { program: &line, folder: &folder, environment: &environment, sandbox: Sandbox::On, checkpoints: None }, context).await?;
    if let Some(artifact) = begun
        && files(&place(start::FOLDER)) != before
        && context.store.verify_all(artifact).is_err()
    {
        // What is wrong has been set aside, and is made anew.
        return Err(StageError::InputWritten { path: start::FOLDER.into() });
    }
    if !std::fs::read_dir(place(MODEL)).is_ok_and(|mut files| files.next().is_some()) {
        return Err(StageError::MissingOutput { path: format!("{MODEL}/") });
    }
    let metrics = match std::fs::read(place(METRICS)).map(|bytes| serde_json::from_slice(&bytes)) {
        Ok(Ok(value)) => figures(&value).into_iter().collect(),
        // A model that took hours is not thrown away over its figures.
        Ok(Err(problem)) => {
            context.watch.note(&format!("{METRICS} cannot be read, and is left out: {problem}"));
            BTreeMap::new()
        }
        Err(_) => BTreeMap::new(),
    };
    let losses = std::fs::read(place(LOSSES)).unwrap_or_default();
    let model = ModelCard { provider: provider.to_owned(), base: request.base.clone(), name: "files".into(), digest: None };
    Ok((TuningResult { model, files: BTreeMap::new(), losses, flight: Vec::new(), metrics }, place(MODEL)))
}

/// The config file of a program, from its template; or what is wrong with the template, and the names that it may use.
fn render(template: &str, request: &TuningRequest) -> Result<String, (String, Vec<String>)> {
    let sizes = &request.hyperparameters;
    let mut environment = minijinja::Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::SemiStrict);
    // What is not given is not there: a template that prints it all the same is told so.
    let values = json!({
        "base": request.base,
        "start": request.start.as_ref().map(|_| start::FOLDER),
        "method": request.method.name(),
        "train": TRAIN,
        "validation": VALIDATION,
        "model": MODEL,
        "epochs": sizes.epochs,
        "batch_size": sizes.batch_size,
        "learning_rate": sizes.learning_rate,
        "warmup": sizes.warmup,
        "weight_decay": sizes.weight_decay,
        "lora_rank": sizes.lora.as_ref().map(|lora| lora.rank),
        "lora_alpha": sizes.lora.as_ref().map(|lora| lora.alpha),
        "lora_dropout": sizes.lora.as_ref().map(|lora| lora.dropout),
        "lora_targets": sizes.lora.as_ref().map(|lora| &lora.targets).filter(|targets| !targets.is_empty()),
        "rslora": sizes.lora.as_ref().map(|lora| lora.is_rank_stabilised),
        "dora": sizes.lora.as_ref().map(|lora| lora.is_dora),
        "decay": sizes.decay.map(Decay::name),
        "clip": sizes.clip,
        "eval_interval": sizes.eval_interval,
        "max_length": sizes.longest.map(|longest| longest.tokens),
        "gradient_checkpointing": sizes.recompute,
        "train_on_inputs": sizes.taught == Taught::Everything,
        "from_scratch": sizes.from_scratch,
        "beta": if let Method::Dpo { beta } = &request.method { *beta } else { None },
        "seed": sizes.seed,
    });
    let values: serde_json::Map<String, Value> =
        values.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect();
    let rendered = environment
        .render_str(template, minijinja::Value::from(minijinja::value::Serde(&values)))
        .map_err(|error| (error.to_string(), values.keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()))?;
    // The last line break is the template's own.
    let ends = template.ends_with('\n') && !rendered.ends_with('\n');
    Ok(if ends { rendered + "\n" } else { rendered })
}

/// What of the inputs is the program itself.
fn of<'a>(program: &'a Declared, context: &'a Context<'_>) -> impl Iterator<Item = &'a Given> {
    let meant = move |path: &str| program.inputs.iter().any(|input| plain(input) == path || input == path);
    context.inputs.iter().filter(move |(name, _)| meant(name)).map(|(_, given)| given)
}

fn variables(program: &Declared) -> BTreeMap<String, String> {
    program.variables.iter().chain(&program.knobs).filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect()
}

/// A question as the program finds it.
fn line(question: &Question, how: &Generation) -> Value {
    let mut line = json!({ "messages": question.messages, "max_tokens": how.max_tokens });
    for (name, value) in question.written.iter().flat_map(|written| written.iter()) {
        line[name] = value.clone();
    }
    if how.temperature > 0.0 {
        line["temperature"] = json!(how.temperature);
        line["sample"] = json!(question.sample);
    }
    line
}

#[derive(Deserialize)]
struct Said {
    answer: String,
}

/// Lets a program answer. Its folder holds `model` and `questions.jsonl`; it leaves `answers.jsonl`, one for each question.
pub async fn answer(
    program: &Declared,
    provider: &str,
    model: &ModelHandle,
    asked: &[Question],
    how: Generation,
    context: &Context<'_>,
) -> Result<Vec<Answered>, StageError> {
    let Some(command) = &program.answer else {
        return Err(ProviderError::Cannot { provider: provider.to_owned(), lack: "has no `answer` command to ask its models with".into() }.into());
    };
    let folder = context.folder.join("program");
    let io = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| StageError::Io { doing, path, source }
    };
    std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    // As links into the store: a model may be larger than the memory.
    if let Ok(artifact) = context.artifact("model") {
        context.store.link(artifact, &folder.join(MODEL))?;
    }
    let questions: Vec<Value> = asked.iter().map(|question| line(question, &how)).collect();
    let path = folder.join(QUESTIONS);
    std::fs::write(&path, write_lines(&questions)).map_err(io("write", &path))?;
    let mut environment = variables(program);
    environment.insert("RETUNE_BASE".into(), model.card.base.clone());
    lay(context, of(program, context), &folder)?;
    let line = Program::Shell(command.clone());
    let before = files(&folder.join(MODEL));
    launch(Launch { program: &line, folder: &folder, environment: &environment, sandbox: Sandbox::On, checkpoints: None }, context).await?;
    if let Ok(artifact) = context.artifact("model")
        && files(&folder.join(MODEL)) != before
        && context.store.verify_all(artifact).is_err()
    {
        // What is wrong has been set aside, and is made anew.
        return Err(StageError::InputWritten { path: MODEL.into() });
    }
    let path = folder.join(ANSWERS);
    let text = std::fs::read_to_string(&path).map_err(|_| StageError::MissingOutput { path: ANSWERS.into() })?;
    let wrong = |problem: String| StageError::Unreadable { what: ANSWERS, problem };
    let lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
    let said = lines.map(|(at, line)| serde_json::from_str::<Said>(line).map_err(|error| wrong(format!("line {}: {error}", at + 1))));
    let texts: Vec<String> = said.map(|said| Ok::<_, StageError>(said?.answer)).collect::<Result<_, _>>()?;
    if texts.len() != asked.len() {
        return Err(wrong(format!("it holds {} answers to {} questions", texts.len(), asked.len())));
    }
    Ok(texts.into_iter().map(Answered::from).collect())
}
