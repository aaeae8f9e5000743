//! Files and fine-tuning jobs as OpenAI's API has them, on the local engine.

mod api;
mod files;
mod jobs;
mod request;
mod work;

pub use api::routes;
pub use jobs::{Job, Jobs, Made};
pub use work::work;
