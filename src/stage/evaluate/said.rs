//! What graders say that are not of this program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What somebody outside said of one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// A share from 0 to 1, or an amount.
    pub score: f64,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The score of the baseline's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// What else there is to say of the row, by figure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
}
