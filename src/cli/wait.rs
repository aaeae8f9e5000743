use std::future::Future;
use std::path::PathBuf;

use crate::engine::EngineError;

/// Waits for something outside to answer.
pub fn wait_for<T>(work: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| EngineError::Workspace { path: PathBuf::from("."), reason: format!("no runtime can be had: {error}") })?;
    runtime.block_on(work)
}
