//! The pipeline as a graph: of stages by their references and files, and of the actions that they compile to.

mod dag;
mod outputs;
mod stages;

pub use dag::{Dag, NodeId};
pub use outputs::{Outputs, Produced, folders_above, is_glob, plain};
pub use stages::StageGraph;
