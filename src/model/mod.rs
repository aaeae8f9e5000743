//! The local engine: a small decoder with forward and backward passes written by hand, its trainer, its
//! generation, and the model that comes with the program.

mod adapter;
mod architecture;
mod backward;
mod batch;
mod builtin;
mod checkpoint;
mod decoder;
mod error;
mod export;
mod files;
mod generate;
mod gradient;
mod kernel;
mod likelihood;
mod local;
pub mod matmul;
mod optimizer;
mod random;
mod sampling;
mod session;
mod trained;
mod trainer;
mod weights;

pub use adapter::{Adapter, AdapterLayout, LoraShape};
pub use architecture::Architecture;
pub use backward::gradient;
pub use batch::{Packed, Sample, samples};
pub use builtin::{TINY, TINY_ARCHITECTURE, base, builtin_digest};
pub use checkpoint::CheckpointPlace;
pub use decoder::loss;
pub use error::ModelError;
pub use export::ExportFormat;
pub use files::{load_adapter, load_weights, save_adapter, save_weights};
pub use generate::{Generated, Prompt, generate};
pub use gradient::{FullGradient, GradientSink, LinearGradient, LoraGradient};
pub use likelihood::perplexities;
pub use local::{ENGINE_VERSION, LEARNING_RATE, LocalEngine, weights};
pub use optimizer::{AdamW, Schedule};
pub use random::Random;
pub use sampling::Sampling;
pub use session::{End, Session, Spoken, Wish};
pub use trained::{LossPoint, Trained};
pub use trainer::{Tuning, TuningMethod, tune};
pub use weights::{Layout, Matrix, Weights};
