//! A version that is asked what the current one was asked, while nobody hears its answers.

use std::sync::Arc;
use std::time::Instant;

use axum::response::Response;
use futures_util::StreamExt;
use serde_json::value::RawValue;

use super::answer::answer;
use super::arm::Arm;
use super::catalog::Route;
use super::heard::Heard;
use super::refusal::Refusal;
use super::state::State;
use super::trials::Outcome;
use super::upstream::{Asks, Fields};

/// Asks the shadow of a version what that was asked, and takes down what came of it; nobody waits for it. Where many are asked
/// already, this one is not.
pub fn ask(state: &Arc<State>, arm: Arm, asked: Vec<u8>, current: Option<String>) {
    let Ok(place) = Arc::clone(&state.trials.shadows).try_acquire_owned() else {
        return;
    };
    let (state, arm) = (Arc::clone(state), Arm { is_tried: true, ..arm });
    tokio::spawn(async move {
        let began = Instant::now();
        let said = said(&state, &arm, &asked).await;
        drop(place);
        // That there was no place for it says nothing of it.
        if matches!(said, Err(Refusal::Busy { .. } | Refusal::Resting { .. })) {
            return;
        }
        let (is_error, text) = (!matches!(said, Ok(Some(_))), said.ok().flatten().flatten());
        let is_same = text.as_ref().zip(current).map(|(text, current)| text.trim() == current.trim());
        state.trials.observe(Outcome { arm, is_error, took: Some(began.elapsed()), text, is_same });
    });
}

/// What the shadow says to a request, which need not come in parts: an answer, perhaps without a text, or none.
async fn said(state: &State, arm: &Arm, asked: &[u8]) -> Result<Option<Option<String>>, Refusal> {
    let broken = |error: serde_json::Error| Refusal::Broken { problem: error.to_string() };
    let mut fields: Fields = serde_json::from_slice(asked).map_err(broken)?;
    ["model", "stream", "stream_options"].into_iter().for_each(|field| drop(fields.remove(field)));
    let name = format!("{}@{}", arm.alias, arm.trial.version);
    let response = match state.catalog.route(&name)? {
        Route::Here(engine) => {
            fields.insert("model".into(), RawValue::from_string(format!("{name:?}")).map_err(broken)?);
            let body = serde_json::to_vec(&fields).map_err(broken)?;
            answer(&engine, &state.tally, &name, "shadow".into(), &body).await?
        }
        Route::There(upstream) => upstream.chat(fields, asked.len(), Asks::Unheard).await?,
    };
    Ok(if response.status().is_success() { heard(response).await } else { None })
}

async fn heard(response: Response) -> Option<Option<String>> {
    let (mut heard, mut parts) = (Heard::default(), response.into_body().into_data_stream());
    while let Some(part) = parts.next().await {
        heard.take(&part.ok()?);
    }
    Some(heard.text())
}
