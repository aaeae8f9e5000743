//! What can be wrong with a pipeline file. Larger subjects have an enum of their own.

mod include;
mod lint;
mod matrix;
mod measure;
mod report;
mod value;

use miette::{Diagnostic, LabeledSpan, SourceSpan};
use thiserror::Error;

pub use include::IncludeError;
pub use lint::Lint;
pub use matrix::MatrixError;
pub use measure::MeasureError;
pub use report::{Finding, FindingLabel, PipelineErrors};
pub use value::ValueError;

/// One thing that is wrong with a pipeline file, or with the way it was named.
#[derive(Clone, Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the pipeline file {path}: {reason}")]
    #[diagnostic(code(config::unreadable), help("name a KDL file that exists and can be read: `retune COMMAND path/to/pipeline.kdl`"))]
    Unreadable { path: String, reason: String },

    /// The file is far too large to be a pipeline.
    #[error("{path} has {bytes} bytes, which is no pipeline file")]
    #[diagnostic(code(config::too_large), help("a pipeline file is KDL text of at most 8 MiB; was a data file given by accident?"))]
    TooLarge { path: String, bytes: u64 },

    /// The file is not text.
    #[error("{path} is not UTF-8 text: the byte at offset {offset} is invalid")]
    #[diagnostic(code(config::not_text), help("a pipeline file is KDL text in UTF-8; was a data file given by accident?"))]
    NotText { path: String, offset: usize },

    /// No pipeline was named and none can be taken for granted.
    #[error("no pipeline file: {found}")]
    #[diagnostic(code(config::no_pipeline))]
    NoPipeline {
        found: String,
        #[help]
        help: String,
    },

    /// The text is not KDL.
    #[error("this is not KDL: {problem}")]
    #[diagnostic(code(config::syntax))]
    Syntax {
        problem: String,
        label: String,
        #[label("{label}")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// Nodes are nested deeper than any pipeline needs.
    #[error("nodes are nested more than {limit} deep")]
    #[diagnostic(code(config::too_deep), help("a pipeline never needs more than five levels; look for an unclosed `{{` above"))]
    TooDeep {
        limit: usize,
        #[label("the nesting passes the limit here")]
        at: SourceSpan,
    },

    /// The file has no `pipeline` node.
    #[error("the file does not say which pipeline it is")]
    #[diagnostic(code(config::unnamed_pipeline), help("begin it with `pipeline \"name\"`"))]
    UnnamedPipeline {
        #[label("expected `pipeline \"name\"` before this")]
        at: SourceSpan,
    },

    /// A node that the language does not have here.
    #[error("unknown node `{name}` in {place}")]
    #[diagnostic(code(config::unknown_node))]
    UnknownNode {
        name: String,
        place: String,
        #[label("not known here")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A property that the node does not have.
    #[error("unknown property `{name}` on `{node}`")]
    #[diagnostic(code(config::unknown_property))]
    UnknownProperty {
        name: String,
        node: String,
        #[label("not known here")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// More arguments than the node takes.
    #[error("`{node}` takes {takes}, and this is one more")]
    #[diagnostic(code(config::surplus_argument), help("take it away, or write it as a property: `name=value`"))]
    SurplusArgument {
        node: String,
        takes: String,
        #[label("one too many")]
        at: SourceSpan,
    },

    /// An argument or property that must be written is not.
    #[error("`{node}` needs {what}")]
    #[diagnostic(code(config::missing_value))]
    MissingValue {
        node: String,
        what: String,
        #[label("{what} is missing")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A child node that must be written is not.
    #[error("`{node}` needs {} inside", with_article(&format!("`{child}`")))]
    #[diagnostic(code(config::missing_node))]
    MissingNode {
        node: String,
        child: String,
        #[label("has no `{child}`")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A node or property that may stand only once stands again.
    #[error("`{name}` stands twice in {place}")]
    #[diagnostic(code(config::repeated), help("keep one of the two"))]
    Repeated {
        name: String,
        place: String,
        #[label("first here")]
        first: SourceSpan,
        #[label("and again here")]
        at: SourceSpan,
    },

    /// A value of the wrong type.
    #[error("`{name}` must be {expected}, found {found}")]
    #[diagnostic(code(config::wrong_type))]
    WrongType {
        name: String,
        expected: String,
        found: String,
        #[label("{found}")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A number outside its bounds.
    #[error("`{name}` must be {expected}, found {found}")]
    #[diagnostic(code(config::out_of_range), help("choose a value within the bounds"))]
    OutOfRange {
        name: String,
        expected: String,
        found: String,
        #[label("out of range")]
        at: SourceSpan,
    },

    /// A word that is not one of the choices.
    #[error("`{name}` cannot be {found}")]
    #[diagnostic(code(config::unknown_choice))]
    UnknownChoice {
        name: String,
        found: String,
        #[label("not one of the choices")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A profile that is not declared.
    #[error("no profile `{name}` is declared")]
    #[diagnostic(code(config::unknown_profile))]
    UnknownProfile {
        name: String,
        #[help]
        help: String,
    },

    /// A setting that a profile or `defaults` has for a stage or provider that is not there.
    #[error("{place} sets something of {kind} `{name}`, which is not declared")]
    #[diagnostic(code(config::nothing_to_override))]
    NothingToOverride {
        place: String,
        kind: String,
        name: String,
        #[label("is not declared")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A name that cannot be the name of a stage, or of a profile.
    #[error("`{name}` cannot be the name of {of}")]
    #[diagnostic(code(config::bad_name), help("use letters, digits, `-`, `_` and `.`, at most 100 of them"))]
    BadName {
        name: String,
        of: String,
        #[label("not a name")]
        at: SourceSpan,
    },

    /// Two stages of one name.
    #[error("two stages are called `{name}`")]
    #[diagnostic(code(config::duplicate_stage), help("give one of them another name; references go by name"))]
    DuplicateStage {
        name: String,
        #[label("first here")]
        first: SourceSpan,
        #[label("and again here")]
        at: SourceSpan,
    },

    /// A reference to a stage that is not there.
    #[error("there is no {wanted} stage `{name}`")]
    #[diagnostic(code(config::dangling_reference))]
    DanglingReference {
        name: String,
        wanted: String,
        #[label("refers to nothing")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A reference to a stage of a kind that does not fit.
    #[error("`{name}` is {found} stage, and {wanted} stage is needed here")]
    #[diagnostic(code(config::wrong_reference), help("refer to {wanted} stage"))]
    WrongReference {
        name: String,
        found: String,
        wanted: String,
        #[label("the reference")]
        at: SourceSpan,
        #[label("the stage")]
        target: SourceSpan,
    },

    /// Stages that wait for each other.
    #[error("stages wait for each other: {path}")]
    #[diagnostic(code(config::cycle), help("take one of these references away"))]
    Cycle {
        path: String,
        #[label(collection)]
        links: Vec<LabeledSpan>,
    },

    /// Two outputs that are the same file, or one in the other.
    #[error("`{path}` is written twice")]
    #[diagnostic(code(config::shared_output), help("give each output a path of its own; a `metrics` file is an output already, and may not lie in another"))]
    SharedOutput {
        path: String,
        #[label("first here")]
        first: SourceSpan,
        #[label("and again here")]
        at: SourceSpan,
    },

    /// A path that leads out of the workspace, or may by `..`.
    #[error("`{path}` is not written as a path below the workspace")]
    #[diagnostic(code(config::outside_path), help("use a path below the workspace, without `..`"))]
    OutsidePath {
        path: String,
        #[label("goes up, or begins elsewhere")]
        at: SourceSpan,
    },

    /// An output that would write over something that is not a stage's.
    #[error("`{path}` cannot be an output")]
    #[diagnostic(
        code(config::reserved_path),
        help(
            "the workspace itself, the pipeline, lock files, `.git`, `.retune` and `deployments` are not for stages to write; name a file or folder of its own"
        )
    )]
    ReservedPath {
        path: String,
        #[label("not for a stage to write")]
        at: SourceSpan,
    },

    /// Settings that are fine one by one and make no sense together.
    #[error("{problem}")]
    #[diagnostic(code(config::contradiction))]
    Contradiction {
        problem: String,
        label: String,
        #[label("{label}")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A template that does not parse.
    #[error("this template does not parse: {problem}")]
    #[diagnostic(code(config::bad_template), help("templates are minijinja: `{{{{ field }}}}` puts in a field of the row"))]
    BadTemplate {
        problem: String,
        #[label("the template")]
        at: SourceSpan,
    },

    /// A stage that the command line names and the file does not have.
    #[error("`{name}` is no one stage of this pipeline")]
    #[diagnostic(code(config::unknown_stage))]
    UnknownStage {
        name: String,
        #[help]
        help: String,
    },

    /// A setting that the provider of the stage has no way to honour.
    #[error("provider `{provider}` cannot express `{setting}`")]
    #[diagnostic(code(config::inexpressible), severity(Warning))]
    Inexpressible {
        provider: String,
        setting: String,
        #[label("is not sent, and is no part of the fingerprint")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A command that is not kept from what it does not declare.
    #[error("`{stage}` runs in the workspace itself")]
    #[diagnostic(
        code(config::unguarded),
        severity(Warning),
        help("it can read files that it does not declare, and a change of those goes unnoticed; declare every `input`, or take `sandbox` out")
    )]
    Unguarded {
        stage: String,
        #[label("nothing is kept from it")]
        at: SourceSpan,
    },

    /// In what an `include` takes in.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Include(#[from] IncludeError),

    /// In what a value stands for: a parameter, a variable, a file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Value(#[from] ValueError),

    /// In a value with a unit or a range of its own.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Measure(#[from] MeasureError),

    /// In a `matrix`, or in what comes of it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Matrix(#[from] MatrixError),

    /// Nothing wrong, and most likely not meant.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lint(#[from] Lint),
}

impl ConfigError {
    /// The place that the error points at, for sorting: the last of several.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.labels().into_iter().flatten().map(|label| label.offset()).max().unwrap_or(0)
    }

    /// Whether it is a warning.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.severity() == Some(miette::Severity::Warning)
    }
}

/// A word, be it in code quotes, with the article that it takes.
pub(in crate::config) fn with_article(word: &str) -> String {
    format!("{} {word}", if word.trim_start_matches('`').starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" })
}
