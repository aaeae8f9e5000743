//! What was done, for people to look at: one HTML page that needs nothing but itself.
//!
//! A page is written by a template of `page/`, from parts that are gathered in `section/`, with charts of `chart/`.

mod chart;
mod compared;
mod drawing;
pub mod format;
mod page;
mod pipeline;
mod section;
mod sweep;

pub use compared::of_two;
pub use drawing::{sketches, tone};
pub use page::ReportError;
pub use pipeline::of_pipeline;
pub use sweep::of_sweep;
