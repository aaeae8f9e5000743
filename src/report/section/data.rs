use serde::Serialize;
use serde_json::Value;

use crate::engine::Account;
use crate::store::Store;

/// What became of the rows of a prepare stage.
#[derive(Debug, Serialize)]
pub struct Data {
    stage: String,
    report: Value,
}

/// Of a prepare stage, where its report is there.
pub fn data(account: &Account, store: &Store) -> Option<Data> {
    let report = account.read(store, "report").filter(|_| account.kind == "prepare")?;
    Some(Data { stage: account.name.clone(), report })
}
