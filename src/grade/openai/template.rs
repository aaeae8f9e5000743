use std::fmt;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value as Filled};
use serde_json::{Map, Value, json};

/// What templates speak of: `item`, the row, and `sample`, the answer.
#[derive(Debug)]
pub struct Sample(Value);

impl Sample {
    /// An answer to a row.
    #[must_use]
    pub fn new(item: Value, said: &str) -> Self {
        let mut sample = json!({ "output_text": said });
        if let Ok(json) = serde_json::from_str::<Value>(said) {
            if let Some(calls) = json.get("tool_calls") {
                sample["output_tools"] = calls.clone();
                sample["output_text"] = json.get("content").cloned().unwrap_or_else(|| json!(""));
            }
            sample["output_json"] = json;
        }
        Self(json!({ "item": item, "sample": sample }))
    }
}

/// A text with places such as `{{ item.answer }}`.
pub struct Template {
    environment: Environment<'static>,
    /// What it names, such as `item.answer`.
    names: Vec<String>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("names", &self.names).finish_non_exhaustive()
    }
}

const NAME: &str = "text";

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| error.to_string())?;
        let mut names: Vec<String> = environment.get_template(NAME).map_err(|error| error.to_string())?.undeclared_variables(true).into_iter().collect();
        names.sort();
        Ok(Self { environment, names })
    }

    /// The text; nothing where it names what the answer has not, such as a field of an answer that is no JSON.
    pub fn render(&self, sample: &Sample) -> Result<Option<String>, String> {
        for name in &self.names {
            let found = name.split('.').try_fold(&sample.0, |value, part| value.get(part));
            match name.split('.').next() {
                _ if found.is_some() => {}
                Some("sample") => return Ok(None),
                _ => return Err(format!("the row has no `{name}`")),
            }
        }
        let filled = self.environment.get_template(NAME).and_then(|template| template.render(Filled::from(minijinja::value::Serde(&sample.0))));
        filled.map(Some).map_err(|error| error.to_string())
    }
}

/// A formula over the scores of graders by their names.
pub struct Formula {
    environment: Environment<'static>,
    text: String,
}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Formula").field(&self.text).finish()
    }
}

impl Formula {
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_function("min", |a: f64, b: f64| a.min(b));
        environment.add_function("max", |a: f64, b: f64| a.max(b));
        environment.add_function("abs", f64::abs);
        environment.add_function("floor", f64::floor);
        environment.add_function("ceil", f64::ceil);
        environment.add_function("exp", f64::exp);
        environment.add_function("sqrt", f64::sqrt);
        environment.add_function("log", f64::ln);
        let formula = Self { environment, text: text.replace('^', "**") };
        let named = formula.environment.compile_expression(&formula.text).map_err(|error| error.to_string())?.undeclared_variables(false);
        let known = ["min", "max", "abs", "floor", "ceil", "exp", "sqrt", "log"];
        match named.iter().find(|name| !names.contains(&name.as_str()) && !known.contains(&name.as_str())) {
            Some(strange) => Err(format!("no grader is called `{strange}`")),
            None => Ok(formula),
        }
    }

    pub fn of<'a>(&self, scores: impl Iterator<Item = (&'a str, f64)>) -> Result<f64, String> {
        let scores: Map<String, Value> = scores.map(|(name, score)| (name.to_owned(), json!(score))).collect();
        let wrong = |error: Error| error.to_string();
        let expression = self.environment.compile_expression(&self.text).map_err(wrong)?;
        let value = expression.eval(Filled::from(minijinja::value::Serde(&scores))).map_err(wrong)?;
        let number = f64::try_from(value).map_err(|_| Error::new(ErrorKind::InvalidOperation, "it gives no number"));
        // What is divided by nothing is worth nothing.
        number.map_err(wrong).map(|number| if number.is_finite() { number } else { 0.0 })
    }
}
