use serde::Serialize;

use crate::engine::compare::Comparison;

use super::page::{ReportError, render};

#[derive(Debug, Serialize)]
struct Page<'a> {
    title: String,
    version: &'static str,
    found: &'a Comparison,
    /// What was made from, stage by stage, in words.
    changes: Vec<Vec<String>>,
}

/// The page about two runs.
///
/// # Errors
/// When it cannot be written.
pub fn of_two(found: &Comparison) -> Result<String, ReportError> {
    let changes = found.stages.iter().map(|stage| stage.changes.iter().map(crate::engine::line).collect()).collect();
    let title = format!("{} and {}", found.a.run, found.b.run);
    render("compared.html", &Page { title, version: env!("CARGO_PKG_VERSION"), found, changes })
}
