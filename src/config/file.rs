use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use miette::{NamedSource, SourceSpan};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// A stretch of bytes of the pipeline file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Length in bytes.
    pub length: usize,
}

impl From<SourceSpan> for Span {
    fn from(span: SourceSpan) -> Self {
        Self { start: span.offset(), length: span.len() }
    }
}

impl From<Span> for SourceSpan {
    fn from(span: Span) -> Self {
        Self::new(span.start.into(), span.length)
    }
}

/// A value and the place it was written at.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands in the pipeline file.
    pub span: Span,
}

/// The text of a pipeline file, under the name that messages use for it.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is called in messages: the path as the user gave it.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
    /// Where each of its lines begins, found when it is first asked for.
    lines: Arc<OnceLock<Vec<usize>>>,
}

/// A pipeline file larger than this is a mistake (a data file given by accident, most likely).
const LARGEST: u64 = 64 << 20;

impl PipelineFile {
    /// Reads a pipeline file.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than 64 MiB, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let unreadable = |error: std::io::Error| ConfigError::Unreadable { path: name.clone(), reason: error.to_string() };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > LARGEST {
            return Err(ConfigError::TooLarge { path: name, bytes: length });
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path: path.to_owned(), name, text: text.into(), lines: Arc::default() }),
            Err(error) => Err(ConfigError::NotText { path: name, offset: error.utf8_error().valid_up_to() }),
        }
    }

    /// The file as miette wants it for a report.
    #[must_use]
    pub fn named_source(&self) -> NamedSource<String> {
        NamedSource::new(&self.name, self.text.to_string())
    }

    /// The line (from 1) in which a span begins.
    #[must_use]
    pub fn line(&self, span: Span) -> usize {
        let starts = self.lines.get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        starts.partition_point(|&start| start <= span.start)
    }
}
