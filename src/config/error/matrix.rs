use miette::{Diagnostic, SourceSpan};
use thiserror::Error;

/// Something wrong with a `matrix`, or with the instances that come of it.
#[derive(Clone, Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum MatrixError {
    /// An axis that cannot be one.
    #[error("`{axis}` cannot be an axis: {problem}")]
    #[diagnostic(code(config::bad_axis), help("write an axis as a name and its values: `epochs 2 4 8`"))]
    BadAxis {
        axis: String,
        problem: String,
        #[label("{problem}")]
        at: SourceSpan,
    },

    /// A value that stands twice in an axis.
    #[error("{value} stands twice in the axis `{axis}`")]
    #[diagnostic(code(config::repeated_value), help("keep one of the two"))]
    Repeated {
        axis: String,
        value: String,
        #[label("first here")]
        first: SourceSpan,
        #[label("and again here")]
        at: SourceSpan,
    },

    /// A name of instances that does not say which.
    #[error("`{name}` names no instances: {problem}")]
    #[diagnostic(code(config::bad_instance))]
    BadInstance {
        name: String,
        problem: String,
        #[label("means nothing")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// `exclude` or `only` of what the matrix does not have.
    #[error("the matrix has no {wanted}")]
    #[diagnostic(code(config::unknown_cell))]
    UnknownCell {
        wanted: String,
        #[label("matches nothing")]
        at: SourceSpan,
        #[help]
        help: String,
    },

    /// Nothing is left.
    #[error("nothing is left of the matrix of `{stage}`")]
    #[diagnostic(code(config::empty_matrix), help("`exclude` and `only` take all of it away; loosen them"))]
    Empty {
        stage: String,
        #[label("has no instances")]
        at: SourceSpan,
    },

    /// More instances than can be meant.
    #[error("`{stage}` would have more than {limit} instances")]
    #[diagnostic(code(config::too_many_instances), help("take values out, or leave combinations out by `exclude` and `only`"))]
    TooMany {
        stage: String,
        limit: usize,
        #[label("multiplies to too many")]
        at: SourceSpan,
    },

    /// Two matrices with an axis of one name come together.
    #[error("two matrices that come together in `{stage}` have an axis `{axis}`")]
    #[diagnostic(code(config::ambiguous_axis), help("give the axis another name in one of them"))]
    Ambiguous {
        stage: String,
        axis: String,
        #[label("a value of the one")]
        first: SourceSpan,
        #[label("a value of the other")]
        at: SourceSpan,
    },

    /// Stages that are referred to together and never go together.
    #[error("no instances of the stages that `{stage}` refers to go together")]
    #[diagnostic(code(config::no_instance), help("refer to instances that agree in the values of the axes that they share"))]
    None {
        stage: String,
        #[label("has none that goes with the others")]
        at: SourceSpan,
    },

    /// Instances that would write the same file.
    #[error("several instances of this stage would {what}")]
    #[diagnostic(code(config::same_for_all))]
    SameForAll {
        what: String,
        #[label("the same for several of them")]
        at: SourceSpan,
        #[help]
        help: String,
    },
}
