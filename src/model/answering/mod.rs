//! How a model answers, and how likely it finds answers.

pub mod generate;
mod json;
pub mod likelihood;
pub mod sampling;
pub mod session;
pub mod thin;
