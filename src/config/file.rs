use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// A stretch of bytes of the text of a pipeline, counted over all of its files, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Length in bytes.
    pub length: usize,
}

impl Span {
    /// Where in this stretch of a text a part of it stands: all of it where it is written in another way there.
    #[must_use]
    pub fn part(self, text: &str, part: &str) -> Self {
        let raw = text.get(self.start..self.start + self.length).unwrap_or_default();
        raw.find(part).map_or(self, |at| Self { start: self.start + at, length: part.len() })
    }

    /// Where in this stretch of a text some bytes of a value stand: all of it where the value is written in another way there.
    #[must_use]
    pub fn within(self, text: &str, value: &str, bytes: std::ops::Range<usize>) -> Self {
        let found = self.part(text, value);
        if found.length == value.len() { Self { start: found.start + bytes.start, length: bytes.len() } } else { self }
    }
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

/// One file of the text of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is called in messages.
    pub name: String,
    /// Where its text begins in the text of all.
    pub start: usize,
    /// The bytes of its text.
    pub length: usize,
}

/// The text of a pipeline: of its own file, and after that of the files that it includes.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    /// Where its own file lies.
    pub path: PathBuf,
    /// What that is called in messages: the path as the user gave it.
    pub name: String,
    /// The text of all files.
    pub text: Arc<str>,
    /// The files, the pipeline's own first.
    pub parts: Arc<[Part]>,
    /// Where each line begins, found when it is first asked for.
    lines: Arc<OnceLock<Vec<usize>>>,
}

/// A place in one of the files of a pipeline, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The file.
    pub part: &'a Part,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A pipeline larger than this is a mistake (a data file given by accident, most likely): it is six times what 10,000 stages take,
/// and KDL is read at about 1 MB a second.
const LARGEST: u64 = 8 << 20;

impl PipelineFile {
    /// Reads a pipeline file, without those that it includes.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than 8 MiB, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = read_text(path, &name, LARGEST)?;
        Ok(Self::of(path.to_owned(), name, text))
    }

    /// A text that lies nowhere, such as one that stands in a program.
    #[must_use]
    pub fn of(path: PathBuf, name: String, text: String) -> Self {
        let part = Part { path: path.clone(), name: name.clone(), start: 0, length: text.len() };
        Self { path, name, text: text.into(), parts: Arc::new([part]), lines: Arc::default() }
    }

    /// The pipeline's own file, without those that it includes.
    #[must_use]
    pub fn own(&self) -> Self {
        Self::of(self.path.clone(), self.name.clone(), self.text_of(&self.parts[0]).to_owned())
    }

    /// The same text with that of further files after it.
    pub(super) fn with<'a>(&self, files: impl Iterator<Item = (&'a Path, &'a str)>) -> Result<Self, ConfigError> {
        let (mut text, mut parts) = (self.text.to_string(), self.parts.to_vec());
        for (path, name) in files {
            let left = LARGEST.saturating_sub(text.len() as u64);
            let found = read_text(path, name, left)?;
            // So that the end of one is not the beginning of the next.
            text.push('\n');
            parts.push(Part { path: path.to_owned(), name: name.to_owned(), start: text.len(), length: found.len() });
            text.push_str(&found);
        }
        Ok(Self { path: self.path.clone(), name: self.name.clone(), text: text.into(), parts: parts.into(), lines: Arc::default() })
    }

    /// The same text with that of the files that it was compiled with before, where all of them can still be read.
    #[must_use]
    pub fn with_known(&self, parts: &[Part]) -> Option<Self> {
        self.with(parts.iter().skip(1).map(|part| (part.path.as_path(), part.name.as_str()))).ok()
    }

    /// The text of one of its files.
    #[must_use]
    pub fn text_of(&self, part: &Part) -> &str {
        self.text.get(part.start..part.start + part.length).unwrap_or_default()
    }

    /// The file that a place is in.
    #[must_use]
    pub fn part(&self, span: Span) -> &Part {
        let after = self.parts.partition_point(|part| part.start <= span.start);
        &self.parts[after.saturating_sub(1)]
    }

    /// Where a span begins.
    #[must_use]
    pub fn place(&self, span: Span) -> Place<'_> {
        let part = self.part(span);
        let starts = self.lines.get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        let number = |offset: usize| starts.partition_point(|&start| start <= offset);
        let begin = starts[number(span.start) - 1].max(part.start);
        let before = self.text.get(begin..span.start).unwrap_or_default();
        Place { part, line: number(span.start) - number(part.start) + 1, column: before.chars().count() + 1 }
    }

    /// The workspace: the nearest folder upward from a pipeline file that holds `.git` or `.retune`, else the file's own. The
    /// paths in a pipeline are relative to it.
    #[must_use]
    pub fn workspace_of(path: &Path) -> PathBuf {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = absolute.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
        // Where the folder is, whatever way led to it: neither `..` nor a link has the folders upward of it.
        let own = folder.canonicalize().unwrap_or(folder);
        let marked = own.ancestors().find(|folder| folder.join(".git").exists() || folder.join(".retune").is_dir());
        marked.map_or(own.clone(), Path::to_owned)
    }
}

/// What a report shows of one place at most, and before and after it where it is less, in bytes.
const LONGEST: usize = 4096;
const AROUND: usize = 120;

impl PipelineFile {
    /// The beginning of the sign that a place is in.
    fn boundary(&self, mut at: usize) -> usize {
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// So that a report shows each place in the file that it is in.
impl SourceCode for PipelineFile {
    fn read_span<'a>(&'a self, span: &SourceSpan, before: usize, after: usize) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let part = self.part((*span).into());
        let own = SourceSpan::new((span.offset() - part.start).into(), span.len());
        let found = self.text_of(part).read_span(&own, before, after)?;
        let at = SourceSpan::new((found.span().offset() + part.start).into(), found.span().len());
        let (data, line, lines) = (found.data(), found.line(), found.line_count());
        // Counted in characters, and not in bytes.
        let column = self.place(at.into()).column - 1;
        if data.len() > LONGEST {
            // One long line, most likely: what stands around the place.
            let whole = at.offset()..at.offset() + data.len();
            let begin = self.boundary(span.offset().saturating_sub(AROUND).max(whole.start));
            let end = self.boundary((span.offset() + span.len().min(LONGEST) + AROUND).min(whole.end));
            let window = SourceSpan::new(begin.into(), end.saturating_sub(begin));
            let place = self.place(window.into());
            let (line, column) = (place.line - 1, place.column - 1);
            return Ok(Box::new(MietteSpanContents::new_named(part.name.clone(), &self.text.as_bytes()[begin..end], window, line, column, 1)));
        }
        // The data is borrowed from the text, not from the contents that tell of it.
        let data = &self.text.as_bytes()[at.offset()..at.offset() + data.len()];
        Ok(Box::new(MietteSpanContents::new_named(part.name.clone(), data, at, line, column, lines)))
    }
}

/// Reads a text file of the pipeline.
fn read_text(path: &Path, name: &str, largest: u64) -> Result<String, ConfigError> {
    let unreadable = |error: std::io::Error| ConfigError::Unreadable { path: name.to_owned(), reason: error.to_string() };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let too_large = |bytes: u64| Err(ConfigError::TooLarge { path: name.to_owned(), bytes });
    if length > largest {
        return too_large(length);
    }
    // What is no plain file does not tell how long it is.
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > largest {
        return too_large(bytes.len() as u64);
    }
    String::from_utf8(bytes).map_err(|error| ConfigError::NotText { path: name.to_owned(), offset: error.utf8_error().valid_up_to() })
}

/// A path in one spelling: no `./`, no `//`, no `/` at the end.
#[must_use]
pub fn plain(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

/// Whether a path leads out of the workspace, or nowhere.
pub fn leads_out(path: &str) -> bool {
    let mut components = Path::new(path).components();
    path.is_empty() || components.any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
}
