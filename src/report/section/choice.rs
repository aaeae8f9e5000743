use serde::Serialize;

use crate::engine::Account;
use crate::stage::{CHOICE, Ranked};
use crate::store::Store;

/// What a select stage compared.
#[derive(Debug, Serialize)]
pub struct Choice {
    stage: String,
    ranked: Vec<Ranked>,
}

/// Of a select stage, where its choice is there.
pub fn choice(account: &Account, store: &Store) -> Option<Choice> {
    let ranked = account.read(store, CHOICE).filter(|_| account.kind == "select")?;
    Some(Choice { stage: account.name.clone(), ranked })
}
