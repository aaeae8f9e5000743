//! The decoder: its kinds and sizes, its weights and adapters, the pass through it and the way back.

pub mod adapter;
pub mod architecture;
pub mod attention;
pub mod backward;
pub mod decoder;
pub mod dots;
pub mod dropout;
pub mod gate;
pub mod gradient;
pub mod kernel;
pub mod layout;
pub mod matmul;
pub mod packed;
pub mod parameters;
pub mod rotary;
pub mod softmax;
pub mod trace;
pub mod weights;
pub mod wide;
