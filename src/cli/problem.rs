use std::io::IsTerminal;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use crate::config::{Finding, PipelineErrors, PipelineFile};
use crate::engine::EngineError;
use crate::ledger::LedgerError;
use crate::report::ReportError;
use crate::serve::ServeError;
use crate::stage::StageError;

use super::exit::Exit;
use super::speak::{about, complain};

/// Something that kept a command from doing what it was asked.
#[derive(Debug)]
pub enum Problem {
    /// In the work on a pipeline.
    Engine(Box<EngineError>),
    /// In the gateway.
    Serve(Box<ServeError>),
    /// In a page about what was done.
    Report(ReportError),
}

impl<E: Into<EngineError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Engine(Box::new(error.into()))
    }
}

impl From<ServeError> for Problem {
    fn from(error: ServeError) -> Self {
        Self::Serve(Box::new(error))
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        Self::Report(error)
    }
}

impl Problem {
    /// The exit code for it.
    pub fn exit(&self) -> Exit {
        let error = match self {
            Self::Serve(error) => {
                let is_wrong = !matches!(**error, ServeError::Io { .. } | ServeError::Store(_) | ServeError::NoPlace { .. });
                return if is_wrong { Exit::Wrong } else { Exit::Failed };
            }
            Self::Report(_) => return Exit::Failed,
            Self::Engine(error) => &**error,
        };
        match error {
            EngineError::Pipeline(_)
            | EngineError::Usage(_)
            | EngineError::NotAccepted { .. }
            | EngineError::NotAsked { .. }
            | EngineError::Taken { .. }
            | EngineError::UnknownRun { .. }
            | EngineError::UnknownJob { .. }
            | EngineError::AmbiguousJob { .. }
            | EngineError::ModelInUse { .. } => Exit::Wrong,
            EngineError::Ledger(LedgerError::NoEvents { .. } | LedgerError::UnknownAlias { .. } | LedgerError::NoEarlierVersion { .. }) => Exit::Wrong,
            EngineError::Stale { .. } | EngineError::NotLocked { .. } => Exit::Stale,
            EngineError::Workspace { .. } | EngineError::Busy | EngineError::Ledger(_) | EngineError::Store(_) | EngineError::Stage(_) => Exit::Failed,
        }
    }

    /// Prints it.
    pub fn print(&self) {
        match self {
            Self::Serve(error) => print_diagnostic(&**error),
            Self::Report(error) => print_diagnostic(error),
            Self::Engine(error) => match &**error {
                EngineError::Pipeline(errors) => print_pipeline(errors),
                error => print_diagnostic(error),
            },
        }
    }
}

fn handler() -> GraphicalReportHandler {
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let theme = if coloured { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false)
}

/// Prints a diagnostic to stderr.
pub fn print_diagnostic(diagnostic: &dyn Diagnostic) {
    let mut text = String::new();
    if handler().render_report(&mut text, diagnostic).is_ok() {
        about(format_args!("{text}"));
    } else {
        complain!("{diagnostic}");
    }
}

/// Prints something that was found in a pipeline, at its place.
pub fn print_finding(finding: &Finding, file: &PipelineFile) {
    let report = miette::Report::new(finding.clone()).with_source_code(file.clone());
    print_diagnostic(report.as_ref());
}

/// Prints all that is wrong with a pipeline file, each with its place.
pub fn print_pipeline(errors: &PipelineErrors) {
    print_diagnostic(errors);
}

/// Prints what went wrong in a stage.
pub fn print_stage(stage: &str, error: &StageError) {
    complain!("stage `{stage}`:");
    print_diagnostic(error);
}
