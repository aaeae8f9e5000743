use std::error::Error as StdError;
use std::fmt;

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};
use serde::Serialize;

use super::super::{PipelineFile, Span};
use super::ConfigError;

/// One thing that was found in a pipeline, as it is kept and printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Finding {
    /// The kind of thing: `config::wrong_type`.
    pub code: String,
    /// Whether it is a warning, and no error.
    pub is_warning: bool,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Where.
    pub labels: Vec<FindingLabel>,
}

/// A place that a finding points at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct FindingLabel {
    /// What there is to say about it.
    pub text: Option<String>,
    /// The place.
    pub span: Span,
}

impl From<&ConfigError> for Finding {
    fn from(error: &ConfigError) -> Self {
        let label = |label: LabeledSpan| FindingLabel { text: label.label().map(str::to_owned), span: (*label.inner()).into() };
        Self {
            code: error.code().map(|code| code.to_string()).unwrap_or_default(),
            is_warning: error.is_warning(),
            message: error.to_string(),
            help: error.help().map(|help| help.to_string()),
            labels: error.labels().into_iter().flatten().map(label).collect(),
        }
    }
}

impl Finding {
    /// The place that it points at: the last of several.
    #[must_use]
    pub fn place(&self) -> Option<Span> {
        self.labels.iter().map(|label| label.span).max()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Finding {}

impl Diagnostic for Finding {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(if self.is_warning { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        // A report is for people, who do not read more of one place.
        let shown = |span: Span| Span { length: span.length.min(SHOWN), ..span };
        let labels = self.labels.iter().map(move |label| LabeledSpan::new_with_span(label.text.clone(), shown(label.span)));
        (!self.labels.is_empty()).then(|| Box::new(labels) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// The longest part of the text that is underlined, in bytes.
const SHOWN: usize = 400;

/// All that is wrong with one pipeline, in one report.
#[derive(Debug)]
pub struct PipelineErrors {
    name: String,
    /// The text that the labels point into, where it could be read.
    pub file: Option<Box<PipelineFile>>,
    /// What was found, by place: errors, and warnings where there are errors too or warnings are denied.
    pub found: Vec<Finding>,
}

impl PipelineErrors {
    /// Gathers what was found in one pipeline, sorted by the place that it points at, each once.
    #[must_use]
    pub fn new(file: &PipelineFile, errors: &[ConfigError]) -> Self {
        let mut sorted: Vec<&ConfigError> = errors.iter().collect();
        sorted.sort_by_key(|error| error.offset());
        Self::of(file, sorted.into_iter().map(Finding::from).collect())
    }

    /// A report of what was found already.
    #[must_use]
    pub fn of(file: &PipelineFile, found: Vec<Finding>) -> Self {
        // Instances of one stage have one text, and make the same mistakes.
        let mut each: Vec<Finding> = Vec::with_capacity(found.len());
        for finding in found {
            let same = |known: &&Finding| known.place() == finding.place();
            if !each.iter().rev().take_while(same).any(|known| *known == finding) {
                each.push(finding);
            }
        }
        Self { name: file.name.clone(), file: Some(Box::new(file.clone())), found: each }
    }

    /// A report about a file that could not even be read.
    #[must_use]
    pub fn unread(name: &str, error: &ConfigError) -> Self {
        Self { name: name.to_owned(), file: None, found: vec![error.into()] }
    }
}

impl fmt::Display for PipelineErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warnings = self.found.iter().filter(|finding| finding.is_warning).count();
        let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        match (self.found.len() - warnings, warnings) {
            (0, warnings) => write!(f, "{}: {}, and warnings are denied", self.name, counted(warnings, "warning")),
            (errors, 0) => write!(f, "{}: {} to mend", self.name, counted(errors, "thing")),
            (errors, warnings) => write!(f, "{}: {} to mend, {}", self.name, counted(errors, "thing"), counted(warnings, "warning")),
        }
    }
}

impl StdError for PipelineErrors {}

impl Diagnostic for PipelineErrors {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new("config::invalid"))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new("see the points above; nothing has been run"))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.file.as_deref().map(|file| file as &dyn SourceCode)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.found.iter().map(|finding| finding as &dyn Diagnostic)))
    }
}
