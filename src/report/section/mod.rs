//! The parts of a report, each from what one kind of stage left.

mod choice;
mod data;
mod provenance;
mod quality;
mod spent;
mod training;

pub use choice::{Choice, choice};
pub use data::{Data, data};
pub use provenance::{Made, made};
pub use quality::{Quality, quality};
pub use spent::{Spent, spent};
pub use training::{Training, curves, training};
