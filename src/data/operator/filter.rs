use minijinja::{Environment, UndefinedBehavior};

use crate::config::{Block, ConfigError, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Stream, Verdict};
use super::template::FUEL;
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("filter", "Keeps the rows for which an expression over their fields holds.").operator(1).arguments(&[Slot::new(
    "expression",
    Kind::Text,
    "As in a template, without its braces: `team != \"spam\" and text|length > 10`.",
)]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Filter::of(block)?)));

#[derive(Debug)]
struct Filter {
    environment: Environment<'static>,
    expression: String,
}

impl Filter {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let expression = block.text("expression").to_owned();
        let bad = |error: minijinja::Error| ConfigError::BadTemplate { problem: error.to_string(), at: block.span_of("expression").into() };
        environment.compile_expression(&expression).map_err(bad)?;
        Ok(Self { environment, expression })
    }
}

impl Operator for Filter {
    fn is_by_row(&self) -> bool {
        true
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        Ok(flow.each("filter", rows, |item| {
            let fields = minijinja::Value::from(minijinja::value::Serde(&*item.row.fields));
            match self.environment.compile_expression(&self.expression).and_then(|expression| expression.eval(fields)) {
                Ok(value) if value.is_true() => Verdict::Keep,
                Ok(_) => Verdict::Drop(format!("`{}` does not hold", self.expression)),
                Err(error) => Verdict::Reject(format!("`{}` cannot be told: {error}", self.expression)),
            }
        }))
    }
}
