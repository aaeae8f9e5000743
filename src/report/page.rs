use miette::Diagnostic;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;
use thiserror::Error;

use crate::grade::chance;
use crate::ledger::LedgerError;
use crate::provider::dollars;
use crate::stage::ROWS_TEMPLATES;

use super::format;

/// Why there is no page.
#[derive(Debug, Error, Diagnostic)]
pub enum ReportError {
    /// What is kept of the pipeline cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),

    /// The page cannot be written.
    #[error("the report cannot be written: {0}")]
    #[diagnostic(code(report::page), help("this is a mistake in the program: please tell its makers, with this message"))]
    Page(String),
}

/// The pages, by the name of their template.
const TEMPLATES: &[(&str, &str)] = &[
    ("base.html", include_str!("page/base.html")),
    ("style.css", include_str!("page/style.css")),
    ("pipeline.html", include_str!("page/pipeline.html")),
    ("compared.html", include_str!("page/compared.html")),
    ("sweep.html", include_str!("page/sweep.html")),
    ("bounds.html", include_str!("page/bounds.html")),
];

/// A longer text of data is cut on a page.
const LONGEST: usize = 600;

/// A page by its template, from what it shows. Whatever data says is escaped.
pub fn render(template: &str, shown: &impl Serialize) -> Result<String, ReportError> {
    let told = |error: minijinja::Error| ReportError::Page(format!("{error:#}"));
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(told)?);
    environment.add_filter("count", |number: f64| format::count(number));
    environment.add_filter("seconds", |number: f64| format::seconds(number));
    environment.add_filter("usd", |number: f64| dollars(number));
    environment.add_filter("percent", |number: f64| format!("{:.1} %", number * 100.0));
    environment.add_filter("figure", figure);
    environment.add_filter("chance", |p: f64| chance(p));
    environment.add_filter("cut", cut);
    for (name, text) in TEMPLATES.iter().chain(&ROWS_TEMPLATES) {
        environment.add_template(name, text).map_err(told)?;
    }
    environment.get_template(template).and_then(|page| page.render(Value::from(Serde(shown)))).map_err(told)
}

/// A figure with as many digits as say something.
fn figure(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format::count(number) } else { format!("{number:.4}") }
}

fn cut(text: String) -> String {
    let short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() { format!("{short} … ({} more characters)", text.chars().count() - LONGEST) } else { short }
}
