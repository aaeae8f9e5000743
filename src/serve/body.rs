//! The bodies of requests: not too large, and not too slow.

use axum::body::Body;
use futures_util::StreamExt;

use super::refusal::Refusal;
use super::state::State;

/// All of a body.
///
/// # Errors
/// When it is too large, takes longer than a client may, or breaks off.
pub async fn whole(state: &State, body: Body) -> Result<Vec<u8>, Refusal> {
    let read = async {
        let (mut whole, mut parts) = (Vec::new(), body.into_data_stream());
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| Refusal::Wrong { problem: format!("the body broke off: {error}"), field: None })?;
            if whole.len() + part.len() > state.largest {
                return Err(Refusal::TooLarge { most: state.largest });
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    };
    tokio::time::timeout(state.patience, read).await.map_err(|_| Refusal::TooSlow)?
}

/// What the body of a request says, as JSON.
///
/// # Errors
/// As [`whole`], and when it is none.
pub async fn said<T: serde::de::DeserializeOwned>(state: &State, body: Body) -> Result<T, Refusal> {
    serde_json::from_slice(&whole(state, body).await?).map_err(|error| Refusal::Wrong { problem: error.to_string(), field: None })
}
