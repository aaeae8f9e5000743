//! Examples from templates over the fields of a row, one operator for each form of examples.

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value as Json, json};

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, Value};

use super::super::flow::{Flow, Item, Stream, Verdict};
use super::super::{DataError, Example, Form, Message, Role};
use super::{Operator, OperatorKind};

const TEMPLATE: &[Slot] = &[Slot::new("template", Kind::Template, "Text with `{{ field }}` where a field of the row goes.")];
const TRIM: &[Slot] = &[Slot::new("trim", Kind::Flag, "Takes white space away at both ends.").or(Fallback::Flag(true))];
static SYSTEM: Setting = Setting::new("system", "What the model is told before the conversation.").arguments(TEMPLATE);
static USER: Setting = Setting::new("user", "What the user says.").once().arguments(TEMPLATE);
static ASSISTANT: Setting = Setting::new("assistant", "What the model should answer.").once().arguments(TEMPLATE).properties(TRIM);
static PREFERRED: Setting = Setting::new("preferred", "The better answer.").once().arguments(TEMPLATE).properties(TRIM);
static OTHER: Setting = Setting::new("other", "The worse answer.").once().arguments(TEMPLATE).properties(TRIM);
static PROMPT: Setting = Setting::new("prompt", "The text that the model goes on with.").once().arguments(TEMPLATE);
static GOES_ON: Setting = Setting::new("completion", "How it should go on.").once().arguments(TEMPLATE).properties(TRIM);
static FIELD: Setting = Setting::new("field", "A field that the grader sees as `item.NAME`.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "Its name."), Slot::new("template", Kind::Template, "Its value: text with `{{ field }}`.")]);

static CHAT_SETTING: Setting =
    Setting::new("chat", "Makes a conversation of each row by templates over its fields.").operator(3).children(|| vec![&SYSTEM, &USER, &ASSISTANT]);
static PREFERENCE_SETTING: Setting = Setting::new("preference", "Makes of each row a question with a better and a worse answer, for `dpo`.")
    .operator(3)
    .children(|| vec![&SYSTEM, &USER, &PREFERRED, &OTHER]);
static REINFORCEMENT_SETTING: Setting =
    Setting::new("reinforcement", "Makes of each row a question whose answers a grader judges.").operator(3).children(|| vec![&SYSTEM, &USER, &FIELD]);
static COMPLETION_SETTING: Setting =
    Setting::new("completion", "Makes of each row a text and how it goes on.").operator(3).children(|| vec![&PROMPT, &GOES_ON]);

pub const CHAT: OperatorKind = maker(&CHAT_SETTING, |block| ready(block, Form::Chat), |_| Some(Form::Chat));
pub const PREFERENCE: OperatorKind = maker(&PREFERENCE_SETTING, |block| ready(block, Form::Preference), |_| Some(Form::Preference));
pub const REINFORCEMENT: OperatorKind = maker(&REINFORCEMENT_SETTING, |block| ready(block, Form::Reinforcement), |_| Some(Form::Reinforcement));
pub const COMPLETION: OperatorKind = maker(&COMPLETION_SETTING, |block| ready(block, Form::Completion), |_| Some(Form::Completion));

const fn maker(setting: &'static Setting, prepare: fn(&Block) -> Result<Box<dyn Operator>, ConfigError>, makes: fn(&Block) -> Option<Form>) -> OperatorKind {
    OperatorKind { makes, ..OperatorKind::new(setting, prepare) }
}

fn ready(block: &Block, form: Form) -> Result<Box<dyn Operator>, ConfigError> {
    let mut templates = Templates::default();
    let parts = block.children.iter().filter(|child| child.setting.name != FIELD.name);
    let parts: Vec<Part> = parts.map(|child| Part::of(child, &mut templates)).collect::<Result<_, _>>()?;
    let fields = block.all(FIELD.name).map(|child| Ok((child.text("name").to_owned(), templates.add(child)?)));
    let fields = fields.collect::<Result<_, ConfigError>>()?;
    Ok(Box::new(Maker { form, templates, parts, fields }))
}

/// The steps that a template or an expression may take over one row: some loops over long lists, and an end to those without one.
pub const FUEL: u64 = 1_000_000;

const NULL: &str = "null";

/// Templates by their numbers.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    count: usize,
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // What is not there must not come out as a word for it.
        environment.set_formatter(|out, state, value| {
            if value.is_none() { Err(minijinja::Error::new(ErrorKind::UndefinedError, NULL)) } else { minijinja::escape_formatter(out, state, value) }
        });
        Self { environment, count: 0 }
    }
}

impl Templates {
    /// Adds the template of a node, and tells its number.
    pub fn add(&mut self, child: &Block) -> Result<usize, ConfigError> {
        let text = child.text("template").to_owned();
        let bad = |error: minijinja::Error| ConfigError::BadTemplate { problem: error.to_string(), at: child.span_of("template").into() };
        self.environment.add_template_owned(self.count.to_string(), text).map_err(bad)?;
        self.count += 1;
        Ok(self.count - 1)
    }

    /// The text of a template over the fields of a row.
    pub fn render(&self, number: usize, what: &str, item: &Item) -> Result<String, String> {
        let template = self.environment.get_template(&number.to_string()).map_err(|error| error.to_string())?;
        let over = |fields: &Map<String, Json>| {
            let fields = minijinja::Value::from(minijinja::value::Serde(fields));
            template.render(&fields).map_err(|error| complaint(&error, &template, what, item))
        };
        let text = over(&item.row.fields)?;
        if item.row.fields.values().any(has_null) {
            // A filter or `~` makes a word of what is null before it can be seen. It is seen by what comes without it.
            let mut bare = Map::clone(&item.row.fields);
            bare.values_mut().for_each(blank);
            if nones(&text) > nones(&over(&bare)?) {
                return Err(null(what));
            }
        }
        Ok(text)
    }
}

fn has_null(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(values) => values.iter().any(has_null),
        Json::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// Puts an empty text in the place of whatever is null.
fn blank(value: &mut Json) {
    match value {
        Json::Null => *value = Json::String(String::new()),
        Json::Array(values) => values.iter_mut().for_each(blank),
        Json::Object(fields) => fields.values_mut().for_each(blank),
        _ => {}
    }
}

/// How often the word that null becomes stands in a text, however it is written.
fn nones(text: &str) -> usize {
    text.to_lowercase().matches("none").count()
}

fn null(what: &str) -> String {
    format!("the {what} template uses a field that is null in this row: `{{{{ field or \"\" }}}}` says what stands for it")
}

/// What a template that cannot be rendered is said to be.
fn complaint(error: &minijinja::Error, template: &minijinja::Template<'_, '_>, what: &str, item: &Item) -> String {
    if error.detail() == Some(NULL) {
        return null(what);
    }
    if error.kind() == ErrorKind::UndefinedError {
        let mut lacking: Vec<String> = template.undeclared_variables(false).into_iter().filter(|name| !item.row.fields.contains_key(name)).collect();
        lacking.sort();
        let lacks = if lacking.is_empty() { "a field".to_owned() } else { format!("`{}`", lacking.join("`, `")) };
        let fields: Vec<&str> = item.row.fields.keys().map(String::as_str).collect();
        return format!("the {what} template uses {lacks}, which the row does not have (it has: {})", fields.join(", "));
    }
    format!("the {what} template fails: {error}")
}

/// A part of an example.
#[derive(Debug)]
struct Part {
    name: &'static str,
    template: usize,
    trim: bool,
}

impl Part {
    fn of(child: &Block, templates: &mut Templates) -> Result<Self, ConfigError> {
        let trim = child.slot("trim").is_some_and(|trim| trim.value == Value::Flag(true));
        Ok(Self { name: child.setting.name, template: templates.add(child)?, trim })
    }
}

#[derive(Debug)]
struct Maker {
    form: Form,
    templates: Templates,
    parts: Vec<Part>,
    fields: Vec<(String, usize)>,
}

impl Maker {
    fn text(&self, name: &str, item: &Item) -> Result<Option<String>, String> {
        let Some(part) = self.parts.iter().find(|part| part.name == name) else {
            return Ok(None);
        };
        let mut text = self.templates.render(part.template, name, item)?;
        if part.trim {
            text = text.trim().to_owned();
        }
        if name != SYSTEM.name && text.trim().is_empty() {
            return Err(format!("the {name} message comes out empty"));
        }
        Ok(Some(text))
    }

    fn make(&self, item: &Item) -> Result<Example, String> {
        let said = |name: &str, role: Role| Ok::<_, String>(self.text(name, item)?.map(|content| Message::new(role, content)));
        let asked: Vec<Message> = [said("system", Role::System)?, said("user", Role::User)?, said("prompt", Role::User)?].into_iter().flatten().collect();
        let with = |answer: Option<Message>| asked.iter().cloned().chain(answer).collect::<Vec<_>>();
        Ok(match self.form {
            Form::Chat => Example::chat(with(said("assistant", Role::Assistant)?)),
            Form::Preference => {
                let (better, worse) = (said("preferred", Role::Assistant)?, said("other", Role::Assistant)?);
                if better == worse {
                    return Err("the better answer and the worse are the same".into());
                }
                let written = json!({ "input": { "messages": asked }, "preferred_output": [better], "non_preferred_output": [worse] });
                Example { messages: with(better), written: Some(written.to_string().into()) }
            }
            Form::Reinforcement => {
                let mut written = Map::from_iter([("messages".to_owned(), json!(asked))]);
                for (name, template) in &self.fields {
                    written.insert(name.clone(), Json::String(self.templates.render(*template, name, item)?));
                }
                Example { messages: asked, written: Some(Json::Object(written).to_string().into()) }
            }
            Form::Completion => {
                let answer = said("completion", Role::Assistant)?;
                let content = |message: Option<&Message>| message.map(|message| message.content.clone()).unwrap_or_default();
                let written = json!({ "prompt": content(asked.last()), "completion": content(answer.as_ref()) });
                Example { messages: with(answer), written: Some(written.to_string().into()) }
            }
        })
    }
}

impl Operator for Maker {
    fn is_by_row(&self) -> bool {
        true
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let name = match self.form {
            Form::Chat => "chat",
            Form::Preference => "preference",
            Form::Reinforcement => "reinforcement",
            Form::Completion => "completion",
        };
        Ok(flow.change(name, rows, |item| match self.make(item) {
            Ok(example) => {
                item.example = Some(example);
                Verdict::Changed
            }
            Err(reason) => Verdict::Reject(reason),
        }))
    }
}
