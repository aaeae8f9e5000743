use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, Value};

use super::super::flow::{Flow, Item, Verdict};
use super::super::{DataError, Example, Message, Role};
use super::{Operator, OperatorKind};

static SETTING: Setting =
    Setting::new("chat", "Makes a conversation of each row by templates over its fields.").operator(1).children(|| vec![&SYSTEM, &USER, &ASSISTANT]);

const TEMPLATE: &[Slot] = &[Slot::new("template", Kind::Template, "Text with `{{ field }}` where a field of the row goes.")];
static SYSTEM: Setting = Setting::new("system", "What the model is told before the conversation.").arguments(TEMPLATE);
static USER: Setting = Setting::new("user", "What the user says.").once().arguments(TEMPLATE);
static ASSISTANT: Setting = Setting::new("assistant", "What the model should answer.").once().arguments(TEMPLATE).properties(&[Slot::new(
    "trim",
    Kind::Flag,
    "Takes white space away at both ends.",
)
.or(Fallback::Flag(true))]);

pub const KIND: OperatorKind =
    OperatorKind { setting: &SETTING, prepare: |block| Ok(Box::new(Chat::new(block)?)), makes_examples: true, needs_examples: false };

#[derive(Debug)]
struct Chat {
    environment: Environment<'static>,
    roles: Vec<(Role, &'static str)>,
    trim_answer: bool,
}

impl Chat {
    fn new(block: &Block) -> Result<Self, ConfigError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mut roles = Vec::new();
        for (name, role) in [("system", Role::System), ("user", Role::User), ("assistant", Role::Assistant)] {
            let Some(child) = block.child(name) else {
                continue;
            };
            let Some(Value::Text(text)) = child.value() else {
                continue;
            };
            let bad = |error: minijinja::Error| ConfigError::BadTemplate { problem: error.to_string(), at: child.span_of("template").into() };
            environment.add_template_owned(name, text.clone()).map_err(bad)?;
            roles.push((role, name));
        }
        let trim_answer = block.child("assistant").is_some_and(|child| child.flag("trim"));
        Ok(Self { environment, roles, trim_answer })
    }

    fn render(&self, item: &Item) -> Result<Example, String> {
        let fields = minijinja::Value::from(minijinja::value::Serde(&item.row.fields));
        let mut messages = Vec::with_capacity(self.roles.len());
        for (role, name) in &self.roles {
            let template = self.environment.get_template(name).map_err(|error| error.to_string())?;
            let mut content = template.render(&fields).map_err(|error| complaint(&error, name, item))?;
            if *role == Role::Assistant && self.trim_answer {
                content = content.trim().to_owned();
            }
            if *role != Role::System && content.trim().is_empty() {
                return Err(format!("the {name} message comes out empty"));
            }
            messages.push(Message { role: *role, content });
        }
        Ok(Example { messages })
    }
}

fn complaint(error: &minijinja::Error, name: &str, item: &Item) -> String {
    if error.kind() == ErrorKind::UndefinedError {
        let fields: Vec<&str> = item.row.fields.keys().map(String::as_str).collect();
        return format!("the {name} template uses a field that the row does not have (it has: {})", fields.join(", "));
    }
    format!("the {name} template fails: {error}")
}

impl Operator for Chat {
    fn apply(&self, flow: &mut Flow) -> Result<(), DataError> {
        flow.each("chat", |item| match self.render(item) {
            Ok(example) => {
                item.example = Some(example);
                Verdict::Changed
            }
            Err(reason) => Verdict::Reject(reason),
        });
        Ok(())
    }
}
