//! The pipeline as a graph: of stages by their references and files, and of the actions that they compile to.

mod dag;
mod drawing;
mod outputs;
mod stages;

pub use dag::{Dag, NodeId};
pub use drawing::{Sketch, Tone, draw, escaped};
pub use outputs::{Outputs, Produced, folders_above, is_glob, same_for_all};
pub use stages::StageGraph;
