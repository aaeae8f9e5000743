//! How a model answers, and how likely it finds answers.

pub mod generate;
pub mod likelihood;
pub mod sampling;
pub mod session;
pub mod thin;
