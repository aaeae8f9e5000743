//! Making it so: which action goes next, with what share of the machine, and what is remembered of it.

pub mod accept;
pub mod interrupt;
pub mod memory;
pub mod origin;
pub mod pool;
mod purse;
pub mod running;
pub mod scheduler;
mod shared;
mod stage_watch;
pub mod worker;

pub use accept::{AcceptedAction, accept};
pub use interrupt::Interrupt;
pub use pool::Machine;
pub use running::{Finished, RunOptions, Start};
