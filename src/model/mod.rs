//! The local engine: a decoder with forward and backward passes written by hand, its trainer, its
//! generation, and the model that comes with the program.

mod answering;
mod builtin;
mod error;
mod export;
mod files;
mod local;
mod network;
mod random;
mod source;
mod training;
mod tuned;

pub use answering::generate::{Generated, Prompt, generate};
pub use answering::sampling::Sampling;
pub use answering::session::{End, Session, Spoken, Wish};
pub use builtin::{TINY, TINY_ARCHITECTURE, builtin_digest};
pub use error::ModelError;
pub use export::{ExportFormat, describe};
pub use files::{load_adapter, load_weights, save_adapter, save_weights};
pub use local::{ENGINE_VERSION, LEARNING_RATE, LocalEngine};
pub use network::adapter::{Adapter, AdapterLayout, Fitted, LoraShape, Pair, Targets};
pub use network::architecture::{Architecture, Family, Local, Rope, Stretch};
pub use network::backward::gradient;
pub use network::decoder::{likely, loss};
pub use network::layout::{Layout, Matrix, Norm, Tensor};
pub use network::matmul;
pub use network::packed::{Packed, Sample, Target};
pub use network::parameters::{Numbers, Parameters, Part};
pub use network::trace::Keep;
pub use network::weights::Weights;
pub use random::Random;
pub use source::{Base, HubModel, SCHEME as HUB_SCHEME, Source, architecture, base, fetch, fetch_now};
pub use training::checkpoint::CheckpointPlace;
pub use training::examples::{lessons, preferences};
pub use training::flight::Step;
pub use training::lane::objective_gradient;
pub use training::lessons::Lessons;
pub use training::optimizer::AdamW;
pub use training::schedule::Schedule;
pub use training::trained::{LossPoint, Trained};
pub use training::trainer::{Recorded, tune};
pub use training::tuning::{Tuning, TuningMethod};
pub use tuned::Model;
