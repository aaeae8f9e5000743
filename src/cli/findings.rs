//! What was found in a pipeline, as JSON for editors and scripts.

use serde::Serialize;

use crate::config::{Finding, PipelineFile, Span};

/// All that there is to say about a pipeline's files.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Checked {
    /// The pipeline's file.
    pipeline: String,
    /// Whether it can be run.
    ok: bool,
    errors: usize,
    warnings: usize,
    /// How many stages it has, where it can be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<usize>,
    /// How many actions these compile to.
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<usize>,
    diagnostics: Vec<Diagnostic>,
}

/// One thing that was found.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Diagnostic {
    severity: &'static str,
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// The places, the one that it is about last.
    labels: Vec<Label>,
}

/// A place. Bytes are counted in the file from 0; lines and columns, in characters, from 1.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Label {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    start: usize,
    length: usize,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl Checked {
    /// Tells of what was found; `size` is how many stages and actions a pipeline that is right has.
    pub fn of(pipeline: &str, file: Option<&PipelineFile>, found: &[Finding], denies: bool, size: Option<(usize, usize)>) -> Self {
        let warnings = found.iter().filter(|finding| finding.is_warning).count();
        let errors = found.len() - warnings;
        Self {
            pipeline: pipeline.to_owned(),
            ok: errors == 0 && !(denies && warnings > 0),
            errors,
            warnings,
            stages: size.map(|(stages, _)| stages),
            actions: size.map(|(_, actions)| actions),
            diagnostics: found.iter().map(|finding| diagnostic(finding, file)).collect(),
        }
    }

    /// Whether the pipeline can be run.
    pub const fn ok(&self) -> bool {
        self.ok
    }
}

fn diagnostic(finding: &Finding, file: Option<&PipelineFile>) -> Diagnostic {
    let mut labels: Vec<_> = finding.labels.iter().collect();
    labels.sort_by_key(|label| label.span);
    Diagnostic {
        severity: if finding.is_warning { "warning" } else { "error" },
        code: finding.code.clone(),
        message: finding.message.clone(),
        help: finding.help.clone(),
        labels: file.into_iter().flat_map(|file| labels.iter().map(|found| label(found.text.clone(), found.span, file))).collect(),
    }
}

fn label(text: Option<String>, span: Span, file: &PipelineFile) -> Label {
    let begin = file.place(span);
    let end = file.place(Span { start: span.start + span.length, length: 0 });
    Label {
        file: begin.part.name.clone(),
        text,
        start: span.start - begin.part.start,
        length: span.length,
        line: begin.line,
        column: begin.column,
        end_line: end.line,
        end_column: end.column,
    }
}
