use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

/// What can be wrong with data as a whole. What is wrong with one row rejects that row and is no error.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum DataError {
    /// A source matches no file.
    #[error("the source `{pattern}` matches no file")]
    #[diagnostic(
        code(data::no_source),
        help("paths are relative to the workspace, {workspace}; check the spelling; a glob means files, and `FOLDER/**` those of a folder")
    )]
    NoSource { pattern: String, workspace: String },

    /// The name of a file does not say its format.
    #[error("cannot tell the format of {file} by its name")]
    #[diagnostic(code(data::unknown_format), help("formats go by ending: {known}; write `format=\"csv\"` beside the source where a name has another"))]
    UnknownFormat { file: String, known: String },

    /// A file that is not text.
    #[error("{file} is not text: there is a NUL byte at offset {offset}")]
    #[diagnostic(
        code(data::binary),
        help("export the data as CSV, JSON or JSON Lines in UTF-8, or write `encoding=\"utf-16le\"` beside the source where it is a text in another encoding")
    )]
    Binary { file: String, offset: usize },

    /// A file of which nothing can be read.
    #[error("cannot read {file} as {format}: {problem}")]
    #[diagnostic(code(data::malformed_file), help("mend the file, or take it out of the sources"))]
    MalformedFile { file: String, format: &'static str, problem: String },

    /// No row at all.
    #[error("there are no rows in {files} ({rejected} were rejected)")]
    #[diagnostic(code(data::no_rows), help("{first}"))]
    NoRows { files: String, rejected: usize, first: String },

    /// Nothing is left of the rows.
    #[error("no example is left of {rows} rows")]
    #[diagnostic(code(data::nothing_left), help("{why}"))]
    NothingLeft { rows: usize, why: String },

    /// More rows than can be told apart.
    #[error("an operator that must see all rows first takes at most {most} of them")]
    #[diagnostic(code(data::too_many), help("take rows away before it (`filter`, `sample share=`), or prepare them in parts"))]
    TooMany { most: u32 },

    /// A field that settings name and no row has.
    #[error("`{by}` goes by the field `{field}`, and no row has it")]
    #[diagnostic(code(data::no_field), help("the rows have {fields}"))]
    NoField { by: String, field: String, fields: String },

    /// Nothing to judge a model by.
    #[error("there are no examples to judge the model by: the split is empty")]
    #[diagnostic(
        code(data::no_examples),
        help("give that split a share in the prepare stage (`split train=0.8 validation=0.1 test=0.1`), or name another with `data \"STAGE\" split=`")
    )]
    NoExamples,

    /// A row that the user wants to be told about with a failure.
    #[error("{count} examples are longer than {limit} tokens; the first is {place} with {tokens}")]
    #[diagnostic(code(data::too_long), help("raise `limit tokens=`, shorten them, or let them go with `overflow=\"drop\"`"))]
    TooLong { count: usize, limit: usize, place: String, tokens: usize },

    /// An expectation that does not hold.
    #[error("expected `{what}` to be {wanted}, found {found}")]
    #[diagnostic(code(data::expectation))]
    Expectation {
        what: String,
        wanted: String,
        found: String,
        #[help]
        help: String,
    },

    /// A file of examples that retune did not write this way.
    #[error("line {line} is no chat example: {problem}")]
    #[diagnostic(code(data::malformed_example), help("each line must be an object with `messages`, a list of roles and contents"))]
    MalformedExample { line: usize, problem: String },

    /// Examples that stand in what the model will be judged by.
    #[error("{count} examples stand in the data that they must not stand in; the first is {first}")]
    #[diagnostic(code(data::contaminated), help("take them out of the sources, or let them go with `how=\"drop\"`"))]
    Contaminated { count: usize, first: String },

    /// What examples are compared with is empty.
    #[error("there is no row in `{against}`, which examples are compared with")]
    #[diagnostic(code(data::nothing_to_compare), help("name the files by which the model will be judged, or take `decontaminate` out"))]
    NothingToCompare { against: String },

    /// Hashes are wanted, and there is no key for them.
    #[error("there is no key in the environment variable `{variable}`")]
    #[diagnostic(code(data::no_key), help("set it: without a key, whoever has a list of addresses can find out whose hash it is"))]
    NoKey { variable: String },

    /// What an earlier stage made is not as it made it.
    #[error("{what} cannot be read: {problem}")]
    #[diagnostic(code(data::unreadable), help("run the stage that made it with `--force`"))]
    Unreadable { what: String, problem: String },

    /// What does not fit into memory cannot be put on disk, or read again.
    #[error("cannot keep rows in {}: {source}", path.display())]
    #[diagnostic(code(data::disk), help("free some space in the workspace and run again; what was finished is kept"))]
    Disk { path: PathBuf, source: std::io::Error },
}

impl DataError {
    /// What an earlier stage made cannot be read.
    #[must_use]
    pub fn unreadable(what: &str, problem: &dyn std::fmt::Display) -> Self {
        Self::Unreadable { what: what.to_owned(), problem: problem.to_string() }
    }

    /// What went wrong with a file of our own.
    pub(super) fn disk(path: &Path) -> impl Fn(std::io::Error) -> Self + use<'_> {
        move |source| Self::Disk { path: path.to_owned(), source }
    }
}
