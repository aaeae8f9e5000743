use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, Value, ValueError};

use super::dialect::{Auth, DIALECTS, Dialect, dialect};
use super::{Limits, Secret};

/// What stands behind a provider's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// The engine in this program.
    Local,
    /// A server somewhere.
    Hosted(Endpoint),
    /// An outside program on this machine.
    Command(Program),
}

/// The protocol that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's, in some dialect.
    OpenAi(&'static Dialect),
    /// Together's `/fine-tunes`.
    Together,
    /// Fireworks' `supervisedFineTuningJobs`.
    Fireworks,
}

/// A server, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The protocol's name.
    api: String,
    /// The address up to and with the version: `https://api.openai.com/v1`.
    pub base_url: String,
    /// How it is told the key.
    #[serde(skip, default = "bearer")]
    pub auth: Auth,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Parameters of every address.
    pub query: Vec<(String, String)>,
    /// Further fields of a new job.
    pub fields: Vec<(String, serde_json::Value)>,
    /// The account, where addresses name it.
    pub account: Option<String>,
    /// The names under which tuned models are asked, where they have one of their own there.
    pub deployments: Vec<(String, String)>,
}

const fn bearer() -> Auth {
    Auth::Bearer
}

/// An outside program that trains and answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The command that trains.
    pub train: String,
    /// The command that answers, where there is one.
    pub answer: Option<String>,
    /// Its version, part of every fingerprint.
    pub version: String,
    /// Files of the workspace that it is made of, by path, folder or glob; it finds them at the same place in its folder.
    pub inputs: Vec<String>,
    /// The template of its config file, a file of the workspace.
    pub config: Option<String>,
    /// Variables that it sees, whose values are part of every fingerprint.
    pub variables: Vec<String>,
    /// Variables that it sees and that cannot change what it makes.
    pub knobs: Vec<String>,
}

/// A provider as built in or declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Its name in the pipeline.
    pub name: String,
    /// What stands behind it.
    pub api: Api,
    /// Its key.
    pub key: Secret,
    /// How fast it may be asked.
    pub limits: Limits,
}

/// The providers that need no declaration.
pub const BUILT_IN: &[&str] = &["local", "openai", "nebius", "together"];

/// What `api` may be.
const APIS: &[&str] = &["openai", "azure", "nebius", "bedrock", "litellm", "openai-compatible", "together", "fireworks", "command"];

/// The table of a `provider` declaration.
pub static SETTING: Setting = Setting::new("provider", "Declares where models are tuned and asked.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "What stages call it.")])
    .children(|| {
        vec![
            &API,
            &BASE_URL,
            &KEY,
            &KEY_COMMAND,
            &LIMITS,
            &HEADER,
            &QUERY,
            &FIELD,
            &ACCOUNT,
            &DEPLOYMENT,
            &TRAIN,
            &ANSWER,
            &VERSION,
            &INPUT,
            &CONFIG,
            &ENV,
            &KNOB,
        ]
    });
static API: Setting = Setting::new("api", "The protocol that it speaks.").once().arguments(&[Slot::new(
    "name",
    Kind::Choice(APIS),
    "OpenAI's in some dialect (`openai-compatible` for all others that speak it), `together`, `fireworks`, or `command` for a program on this machine.",
)]);
static BASE_URL: Setting =
    Setting::new("base-url", "The address.").arguments(&[Slot::new("url", Kind::Text, "Up to and with the version, as in `https://api.openai.com/v1`.")]);
static KEY: Setting = Setting::new("key", "The key.").without_effect().arguments(&[Slot::new(
    "secret",
    Kind::Secret,
    "`(secret)\"NAME\"`: the environment variable that holds it.",
)]);
static KEY_COMMAND: Setting = Setting::new("key-command", "A command that prints the key, such as that of a password manager.")
    .without_effect()
    .arguments(&[Slot::new("line", Kind::Text, "A line for `sh`.")]);
static LIMITS: Setting = Setting::new("limits", "How fast it may be asked, by all stages of a run together.").without_effect().properties(&[
    Slot::new("requests-per-minute", Kind::Integer(1, 1_000_000_000), "Requests.").or(Fallback::Absent),
    Slot::new("tokens-per-minute", Kind::Integer(1, 1_000_000_000), "Tokens, of questions and answers.").or(Fallback::Absent),
    Slot::new("concurrency", Kind::Integer(1, 4096), "Requests under way at once.").or(Fallback::Integer(16)),
    Slot::new("patience", Kind::Duration, "How long a reply may say nothing.").or(Fallback::Integer(300_000)),
    Slot::new("largest-request", Kind::Size, "The most that one request may carry; a larger file goes in parts, where the provider has them.")
        .or(Fallback::Absent),
    Slot::new("visible", Kind::Duration, "How long a new job may take to show in the list of jobs: a job whose making was lost is looked for so long.")
        .or(Fallback::Integer(20_000)),
]);
static HEADER: Setting = Setting::new("header", "A header of every request.").many().arguments(PAIR);
static QUERY: Setting = Setting::new("query", "A parameter of every address, such as Azure's `api-version`.").many().arguments(PAIR);
static FIELD: Setting = Setting::new("field", "A further field of every new job, such as Azure's `trainingType`.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "Its name."), Slot::new("value", Kind::Any, "Its value: a text, a number, or `#true` or `#false`.")]);
static ACCOUNT: Setting = Setting::new("account", "The account, where addresses name it (Fireworks).").arguments(&[Slot::new("id", Kind::Text, "Its id.")]);
static DEPLOYMENT: Setting = Setting::new("deployment", "The name under which a model is asked, where it has one of its own there (Azure).")
    .many()
    .arguments(&[Slot::new("model", Kind::Text, "The model."), Slot::new("name", Kind::Text, "What it is deployed as.")]);
static TRAIN: Setting = Setting::new("train", "The command that trains: it finds config, train.jsonl and validation.jsonl, and leaves the folder model.")
    .arguments(&[Slot::new("line", Kind::Text, "A line for `sh`.")]);
static ANSWER: Setting = Setting::new("answer", "The command that answers: it finds model and questions.jsonl, and leaves answers.jsonl.")
    .arguments(&[Slot::new("line", Kind::Text, "A line for `sh`.")]);
static VERSION: Setting =
    Setting::new("version", "The version of the program; another one trains again.").arguments(&[Slot::new("version", Kind::Text, "As the program says it.")]);
static INPUT: Setting = Setting::new("input", "What of the workspace the program is made of, such as its script.").many().arguments(&[Slot::new(
    "path",
    Kind::Input,
    "A file, folder or glob of the workspace.",
)]);
static CONFIG: Setting =
    Setting::new("config", "The template of the program's config file.").arguments(&[Slot::new("path", Kind::Input, "A file of the workspace, in minijinja.")]);
static ENV: Setting = Setting::new("env", "A variable that the program sees. Its value is part of the fingerprint.").many().arguments(&[Slot::new(
    "name",
    Kind::Variable,
    "Its name.",
)]);
static KNOB: Setting = Setting::new("knob", "A variable that the program sees and that cannot change what it makes.")
    .many()
    .without_effect()
    .arguments(&[Slot::new("variable", Kind::Variable, "Its name.")]);

const PAIR: &[Slot] = &[Slot::new("name", Kind::Text, "Its name."), Slot::new("value", Kind::Text, "Its value.")];

/// Fields of a new job that are not for the user to set.
const OURS: &[&str] = &[
    "model",
    "training_file",
    "validation_file",
    "suffix",
    "metadata",
    "method",
    "hyperparameters",
    "seed",
    "integrations",
    "baseModel",
    "dataset",
    "outputModel",
    "displayName",
    "evaluationDataset",
    "epochs",
    "batchSizeSamples",
    "learningRate",
    "optimizerWeightDecay",
    "loraRank",
    "wandbConfig",
    "n_epochs",
    "n_evals",
    "batch_size",
    "learning_rate",
    "warmup_ratio",
    "weight_decay",
    "random_seed",
    "training_type",
    "training_method",
    "wandb_project_name",
];

/// Whether an address has a name and a password in it.
fn has_login(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')))
}

/// Which settings are for a program, and which for a server.
const PROGRAM: &[&str] = &["train", "answer", "version", "input", "config", "env", "knob"];
const SERVER: &[&str] = &["base-url", "key", "key-command", "limits", "header", "query", "field", "account", "deployment"];

impl Endpoint {
    /// What it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.api.as_str() {
            "together" => Protocol::Together,
            "fireworks" => Protocol::Fireworks,
            name => Protocol::OpenAi(dialect(name).unwrap_or(&DIALECTS[0])),
        }
    }

    /// Whether it says beforehand what a job will cost, once its files are there.
    #[must_use]
    pub fn quotes(&self) -> bool {
        self.protocol() == Protocol::Together
    }

    /// The field of a new job that it refuses, if this is one.
    #[must_use]
    pub fn refuses(&self, field: &str) -> Option<&'static str> {
        match self.protocol() {
            Protocol::OpenAi(dialect) => dialect.refuses.iter().copied().find(|refused| *refused == field),
            Protocol::Together | Protocol::Fireworks => None,
        }
    }

    /// The protocol's name.
    #[must_use]
    pub fn api(&self) -> &str {
        &self.api
    }

    /// The name under which a model is asked there.
    #[must_use]
    pub fn asked_as<'a>(&'a self, model: &'a str) -> &'a str {
        self.deployments.iter().find(|(of, _)| of == model).map_or(model, |(_, name)| name)
    }

    fn of(api: &str, base_url: String) -> Self {
        let mut endpoint = Self {
            api: api.to_owned(),
            base_url: base_url.trim_end_matches('/').to_owned(),
            auth: Auth::Bearer,
            headers: Vec::new(),
            query: Vec::new(),
            fields: Vec::new(),
            account: None,
            deployments: Vec::new(),
        };
        endpoint.settle();
        endpoint
    }

    /// Puts in what follows from the protocol. Needed after it was read from a file.
    pub fn settle(&mut self) {
        if let Protocol::OpenAi(dialect) = self.protocol() {
            self.auth = dialect.auth;
        }
    }
}

/// Where everybody finds a provider, and the variable that its key usually stands in.
fn usual(api: &str) -> (Option<&'static str>, &'static str) {
    match api {
        "together" => (Some("https://api.together.xyz/v1"), "TOGETHER_API_KEY"),
        "fireworks" => (Some("https://api.fireworks.ai/v1"), "FIREWORKS_API_KEY"),
        api => dialect(api).map_or((None, "OPENAI_API_KEY"), |dialect| (dialect.base_url, dialect.variable)),
    }
}

/// The provider of this name, if there is one. A declaration goes before a built-in of the same name.
///
/// # Errors
/// When its declaration makes no sense.
pub fn declared(name: &str, declarations: &[Block]) -> Result<Option<Declared>, ConfigError> {
    if let Some(block) = declarations.iter().find(|block| block.text("name") == name) {
        return read(name, block).map(Some);
    }
    if name == "local" {
        let key = Secret::variable("OPENAI_API_KEY");
        return Ok(Some(Declared { name: name.to_owned(), api: Api::Local, key, limits: Limits::default() }));
    }
    let (Some(base_url), variable) = usual(name) else {
        return Ok(None);
    };
    // The variable that OpenAI's own clients honour.
    let elsewhere = std::env::var("OPENAI_BASE_URL").ok().filter(|url| name == "openai" && !url.is_empty());
    if elsewhere.as_deref().is_some_and(has_login) {
        let problem = "holds a name and a password, which would be stored".into();
        return Err(ValueError::BadVariable { name: "OPENAI_BASE_URL".into(), problem, help: "give the key by OPENAI_API_KEY".into() }.into());
    }
    if elsewhere.as_deref().is_some_and(|url| !is_address(url)) {
        let help = "write it up to and with the version, as in `https://api.openai.com/v1`".into();
        return Err(ValueError::BadVariable { name: "OPENAI_BASE_URL".into(), problem: "is no address".into(), help }.into());
    }
    let endpoint = Endpoint::of(name, elsewhere.unwrap_or_else(|| base_url.to_owned()));
    Ok(BUILT_IN.contains(&name).then(|| Declared {
        name: name.to_owned(),
        api: Api::Hosted(endpoint),
        key: Secret::variable(variable),
        limits: Limits::default(),
    }))
}

fn is_address(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)))
}

fn read(name: &str, block: &Block) -> Result<Declared, ConfigError> {
    let api = block.child_text("api").unwrap_or_default();
    let unfit = if api == "command" { SERVER } else { PROGRAM };
    if let Some(child) = block.children.iter().find(|child| unfit.contains(&child.setting.name)) {
        let what = if api == "command" { "a server" } else { "a program on this machine" };
        return Err(wrong(child, format!("`{}` is for {what}, and `{name}` is none", child.setting.name), "nothing reads it", "take it out, or change `api`"));
    }
    let text = |name: &str| block.child_text(name).map(str::to_owned);
    if api == "command" {
        let train = text("train").ok_or_else(|| missing(block, "train", "the command that trains"))?;
        let version = text("version").ok_or_else(|| missing(block, "version", "the version of the program: another one makes other models"))?;
        let names = |node: &'static str, slot: &str| block.all(node).map(|variable| variable.text(slot).to_owned()).collect();
        let (variables, knobs) = (names("env", "name"), names("knob", "variable"));
        let inputs = names("input", "path");
        let program = Program { train, answer: text("answer"), version, inputs, config: text("config"), variables, knobs };
        let key = Secret::variable("OPENAI_API_KEY");
        return Ok(Declared { name: name.to_owned(), api: Api::Command(program), key, limits: Limits::default() });
    }
    let (usual_url, variable) = usual(api);
    let base_url = text("base-url").or_else(|| usual_url.map(str::to_owned));
    let mut endpoint = Endpoint::of(api, base_url.ok_or_else(|| missing(block, "base-url", "the address up to and with the version"))?);
    let pairs = |node: &'static str| block.all(node).map(|pair| (pair.text("name").to_owned(), pair.text("value").to_owned())).collect();
    (endpoint.headers, endpoint.query) = (pairs("header"), pairs("query"));
    let field = |pair: &Block| {
        let value = match &pair.slot("value")?.value {
            Value::Text(text) => json!(text),
            Value::Integer(number) => json!(number),
            Value::Number(number) => json!(number),
            Value::Flag(flag) => json!(flag),
        };
        Some((pair.text("name").to_owned(), value))
    };
    endpoint.fields = block.all("field").filter_map(field).collect();
    if let Some(field) = block.all("field").find(|field| OURS.contains(&field.text("name"))) {
        return Err(wrong(
            field,
            format!("`{}` is a field that retune fills itself", field.text("name")),
            "ours",
            "take it out: the job could not be found again",
        ));
    }
    let of_key = |header: &&Block| ["authorization", "api-key"].iter().any(|name| header.text("name").eq_ignore_ascii_case(name));
    if let Some(header) = block.all("header").find(of_key) {
        return Err(wrong(
            header,
            format!("`{}` is the header of the key, and would be stored in plain text", header.text("name")),
            "holds a secret",
            "give it by `key (secret)\"VARIABLE\"` or `key-command`",
        ));
    }
    if !is_address(&endpoint.base_url) {
        let at = block.child("base-url").unwrap_or(block);
        return Err(wrong(
            at,
            format!("`{}` is no address", endpoint.base_url),
            "begins with neither http:// nor https://",
            "write it up to and with the version",
        ));
    }
    if has_login(&endpoint.base_url) {
        let at = block.child("base-url").unwrap_or(block);
        return Err(wrong(at, "the address holds a name and a password".into(), "would be stored", "give the key with `key`, or another header"));
    }
    endpoint.deployments = block.all("deployment").map(|pair| (pair.text("model").to_owned(), pair.text("name").to_owned())).collect();
    endpoint.account = text("account");
    if endpoint.protocol() == Protocol::Fireworks && endpoint.account.is_none() {
        return Err(missing(block, "account", "the id of the account, which stands in every address"));
    }
    let key = match (text("key"), text("key-command")) {
        (Some(_), Some(_)) => {
            let at = block.child("key-command").unwrap_or(block);
            return Err(wrong(at, format!("`{name}` has two keys"), "`key` is given too", "keep one of the two"));
        }
        (None, Some(line)) => Secret::command(&line),
        (named, None) => Secret::variable(named.as_deref().unwrap_or(variable)),
    };
    Ok(Declared { name: name.to_owned(), api: Api::Hosted(endpoint), key, limits: limits(block) })
}

fn limits(block: &Block) -> Limits {
    let Some(written) = block.child(LIMITS.name) else {
        return Limits::default();
    };
    let limit = |name: &str| written.find_integer(name).and_then(|limit| u32::try_from(limit).ok());
    let patience: Duration = written.duration("patience");
    Limits {
        requests: limit("requests-per-minute"),
        tokens: limit("tokens-per-minute"),
        at_once: written.count("concurrency"),
        patience,
        largest: written.find_integer("largest-request").map(i64::unsigned_abs),
        visible: written.duration("visible"),
    }
}

fn wrong(at: &Block, problem: String, label: &str, help: &str) -> ConfigError {
    ConfigError::Contradiction { problem, label: label.into(), at: at.name_span.into(), help: help.into() }
}

fn missing(block: &Block, child: &str, help: &str) -> ConfigError {
    ConfigError::MissingNode { node: "provider".into(), child: child.into(), at: block.name_span.into(), help: help.into() }
}
