//! The pipeline file: KDL text to a typed [`Pipeline`] in which every value knows where it was written.
//!
//! What may stand in a file is said once, in tables of [`Setting`]s. The tables of the stage kinds live
//! with the kinds and come in as a [`Language`]; this folder knows how to decode any table.

mod block;
mod decode;
mod error;
mod excerpt;
mod file;
mod measure;
mod nearest;
mod params;
mod pipeline;
mod table;
mod value;

pub use block::Block;
pub use decode::scheme;
pub use error::{ConfigError, PipelineErrors};
pub use file::{PipelineFile, Span, Spanned};
pub use nearest::nearest;
pub use params::Overrides;
pub use pipeline::{Language, Pipeline, Reference, StageDecl, StageName};
pub use table::{Effect, Fallback, Kind, Repeat, Setting, Slot};
pub use value::Value;
