//! `budget`: what a run, or a stage of it, may spend.

use serde::{Deserialize, Serialize};

use super::block::Block;
use super::error::ConfigError;
use super::table::{Fallback, Kind, Setting, Slot};

/// The node, at the top of a file and in a stage.
pub static BUDGET: Setting =
    Setting::new("budget", "What may be spent; what would go over it is not begun, and the run ends with exit code 5.").without_effect().properties(&[
        Slot::new("usd", Kind::Money, "US dollars at providers.").or(Fallback::Absent),
        Slot::new("tokens", Kind::Integer(0, i64::MAX), "Tokens that models learn from, read and write.").or(Fallback::Absent),
    ]);

/// What may be spent, where there is a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// US dollars.
    pub usd: Option<f64>,
    /// Tokens.
    pub tokens: Option<f64>,
}

impl Budget {
    /// Reads a budget.
    ///
    /// # Errors
    /// When it bounds nothing.
    pub fn of(block: &Block) -> Result<Self, ConfigError> {
        #[expect(clippy::cast_precision_loss, reason = "budgets are far below 2^52")]
        let tokens = block.find_integer("tokens").map(|tokens| tokens as f64);
        let budget = Self { usd: block.find_number("usd"), tokens };
        if budget == Self::default() {
            return Err(ConfigError::MissingValue {
                node: "budget".into(),
                what: "`usd=`, `tokens=` or both".into(),
                at: block.name_span.into(),
                help: "write what may be spent: `budget usd=25.0`".into(),
            });
        }
        Ok(budget)
    }

    /// Whether nothing is bounded.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}
