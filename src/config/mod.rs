//! The pipeline file: KDL text to a typed [`Pipeline`] in which every value knows where it was written.
//!
//! What may stand in a file is said once, in tables of [`Setting`]s. The tables of the stage kinds live
//! with the kinds and come in as a [`Language`]; this folder knows how to decode any table.
//!
//! The way of a text: the files that it includes are taken in (`include`), parameters are settled (`params`), profiles and
//! defaults are laid over and under stages (`profile`, `overlay`), matrices are multiplied out (`matrix`, `expand`), and each
//! stage is decoded by its table (`decode`, with `scope` for what a value stands for and `checked` for what it may be).

mod block;
mod budget;
mod checked;
mod decode;
mod error;
mod expand;
mod file;
mod format;
mod include;
mod language;
mod lex;
mod lint;
mod matrix;
mod measure;
mod name;
mod nearest;
mod overlay;
mod params;
mod parse;
mod pipeline;
mod profile;
mod schema;
mod scope;
mod slashdash;
mod table;
mod value;
mod wanted;
mod written;

pub use block::Block;
pub use budget::{BUDGET, Budget};
pub use checked::{expected, scheme};
pub use error::{ConfigError, Finding, FindingLabel, IncludeError, Lint, MatrixError, MeasureError, PipelineErrors, ValueError};
pub use file::{Part, PipelineFile, Place, Span, Spanned, plain};
pub use format::format;
pub use include::with_includes;
pub use language::Language;
pub use matrix::{MATRIX, PLACE, Values, described};
pub use name::{StageName, in_shell};
pub use nearest::nearest;
pub use params::Overrides;
pub use pipeline::{Pipeline, Reference, StageDecl};
pub use scope::Seen;
pub use table::{Effect, Fallback, Kind, Repeat, Setting, Slot};
pub use value::Value;
pub use wanted::{BadBrackets, HOW, Wanted, stem};
