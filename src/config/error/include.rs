use miette::{Diagnostic, SourceSpan};
use thiserror::Error;

/// Something wrong with an `include`.
#[derive(Clone, Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum IncludeError {
    /// The file cannot be read.
    #[error("cannot include {path}: {reason}")]
    #[diagnostic(code(config::unreadable_include), help("the path is relative to the file that includes it"))]
    Unreadable {
        path: String,
        reason: String,
        #[label("included here")]
        at: SourceSpan,
    },

    /// Files that include each other.
    #[error("files include each other: {path}")]
    #[diagnostic(code(config::include_cycle), help("take this `include` out; what a file includes is there for all that include it"))]
    Cycle {
        path: String,
        #[label("comes back to a file that is being read")]
        at: SourceSpan,
    },

    /// A file that is included from two places.
    #[error("{path} is included twice")]
    #[diagnostic(code(config::included_twice), help("keep one of the two: what a file declares is there for all files of the pipeline"))]
    Twice {
        path: String,
        #[label("first here")]
        first: SourceSpan,
        #[label("and again here")]
        at: SourceSpan,
    },

    /// More files than any pipeline needs.
    #[error("more than {limit} files are included")]
    #[diagnostic(code(config::too_many_includes), help("put what belongs together into one file"))]
    TooMany {
        limit: usize,
        #[label("one too many")]
        at: SourceSpan,
    },
}
