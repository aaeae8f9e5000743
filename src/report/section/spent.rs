use serde::Serialize;

use crate::engine::Account;
use crate::stage::{TOKENS_IN, TOKENS_OUT, USD, USD_PAID};

/// What a stage took.
#[derive(Debug, Serialize)]
pub struct Spent {
    stage: String,
    kind: String,
    seconds: f64,
    trained_tokens: Option<f64>,
    tokens: Option<f64>,
    usd: Option<f64>,
    usd_paid: Option<f64>,
}

/// Of a stage that has a result.
pub fn spent(account: &Account) -> Option<Spent> {
    let metrics = account.metrics();
    let figure = |name: &str| metrics.get(name).copied();
    let tokens: Vec<f64> = [TOKENS_IN, TOKENS_OUT].into_iter().filter_map(figure).collect();
    (!account.is_lost()).then(|| Spent {
        stage: account.name.clone(),
        kind: account.kind.clone(),
        seconds: account.seconds(),
        trained_tokens: figure("trained-tokens"),
        tokens: (!tokens.is_empty()).then(|| tokens.iter().sum()),
        usd: figure(USD),
        usd_paid: figure(USD_PAID),
    })
}
