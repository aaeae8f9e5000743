use miette::{Diagnostic, SourceSpan};
use thiserror::Error;

/// Something wrong with what a value stands for: a parameter, a variable of the environment, the content of a file.
#[derive(Clone, Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum ValueError {
    /// A type annotation that means nothing.
    #[error("unknown annotation `({name})`")]
    #[diagnostic(code(config::unknown_annotation))]
    UnknownAnnotation {
        name: String,
        #[label("means nothing here")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A parameter that is not declared.
    #[error("no parameter `{name}` is declared")]
    #[diagnostic(code(config::unknown_param))]
    UnknownParam {
        name: String,
        #[label("used here")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A parameter that takes one which is declared after it, or itself.
    #[error("the parameter `{name}` is not declared before this")]
    #[diagnostic(code(config::unknown_param), help("a parameter takes only those that are declared before it: put `{name}` first"))]
    LaterParam {
        name: String,
        #[label("used here")]
        at: SourceSpan,
    },

    /// A parameter that is given a value of another type than it was declared with.
    #[error("the parameter `{name}` must be {expected}, found {found}")]
    #[diagnostic(code(config::wrong_param), help("give it the type that its declaration has, or change the declaration"))]
    WrongParam {
        name: String,
        expected: String,
        found: String,
        #[label("declared here as {expected}")]
        declared: SourceSpan,
        #[label("{found}")]
        at: SourceSpan,
    },

    /// `--set` of something that is not a parameter, or with a value of another type.
    #[error("--set {given}: {problem}")]
    #[diagnostic(code(config::bad_set))]
    BadSet {
        given: String,
        problem: String,
        #[label("declared here")]
        at: Option<SourceSpan>,
        #[help]
        help: String,
    },

    /// A `${...}` in a string that stands for nothing.
    #[error("`{text}` stands for nothing")]
    #[diagnostic(code(config::unknown_interpolation))]
    UnknownInterpolation {
        text: String,
        #[label("not a parameter")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// A value that grows without bound.
    #[error("more than {limit} bytes are put in here by parameters")]
    #[diagnostic(code(config::too_long), help("put large texts into files of their own, and name these as inputs"))]
    TooLong {
        limit: usize,
        #[label("too long")]
        at: SourceSpan,
    },

    /// An environment variable that is asked for and not set.
    #[error("the environment variable `{name}` is not set")]
    #[diagnostic(code(config::unset_variable), help("set it before the command: `{name}=value retune ...`"))]
    UnsetVariable {
        name: String,
        #[label("asked for here")]
        at: SourceSpan,
    },

    /// An environment variable that cannot be what it is.
    #[error("the environment variable `{name}` {problem}")]
    #[diagnostic(code(config::bad_variable))]
    BadVariable {
        name: String,
        problem: String,
        #[help]
        help: String,
    },

    /// A file whose content is asked for and cannot be had.
    #[error("cannot take the content of `{path}`: {reason}")]
    #[diagnostic(code(config::unreadable_value), help("`(file)\"path\"` is the content of a text file of the workspace, at most 1 MiB of it"))]
    UnreadableValue {
        path: String,
        reason: String,
        #[label("asked for here")]
        at: SourceSpan,
    },
}
