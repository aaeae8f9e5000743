use miette::{Diagnostic, SourceSpan};
use thiserror::Error;

/// A value that is no measure of the kind that is wanted.
#[derive(Clone, Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum MeasureError {
    /// No length of time.
    #[error("`{name}` must be a time above 0 with its unit, found {found}")]
    #[diagnostic(code(config::bad_duration))]
    Duration {
        name: String,
        found: String,
        #[label("not a time")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// No amount of data.
    #[error("`{name}` must be a size above 0 with its unit, found {found}")]
    #[diagnostic(code(config::bad_size))]
    Size {
        name: String,
        found: String,
        #[label("not a size")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// No amount of money.
    #[error("`{name}` must be an amount of US dollars, found {found}")]
    #[diagnostic(code(config::bad_money))]
    Money {
        name: String,
        found: String,
        #[label("not an amount of money")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// No part of a whole.
    #[error("`{name}` must be a share from 0 to 1, found {found}")]
    #[diagnostic(code(config::bad_share))]
    Share {
        name: String,
        found: String,
        #[label("not a share")]
        at: SourceSpan,
        #[help]
        help: String,
    },
}
