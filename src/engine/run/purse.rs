//! The budget of a run: what it may still spend.

use std::sync::{Mutex, PoisonError};

use crate::provider::ProviderError;

/// What a run may spend, and what of it is spoken for.
#[derive(Debug, Default)]
pub struct Purse {
    /// In US dollars; nothing where there is no budget.
    budget: Option<f64>,
    spoken_for: Mutex<f64>,
}

impl Purse {
    /// A purse with so much in it.
    pub fn new(budget: Option<f64>) -> Self {
        Self { budget, spoken_for: Mutex::default() }
    }

    /// Takes an amount out, before it is spent. What nobody knows the price of is over any budget.
    pub fn spend(&self, provider: &str, usd: Option<f64>) -> Result<(), ProviderError> {
        let Some(budget) = self.budget else {
            return Ok(());
        };
        let mut spoken_for = self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner);
        let left = budget - *spoken_for;
        match usd.filter(|usd| *usd <= left) {
            Some(usd) => {
                *spoken_for += usd;
                Ok(())
            }
            None => Err(ProviderError::OverBudget { provider: provider.to_owned(), usd, budget, left }),
        }
    }
}

impl Purse {
    /// Takes out what something cost more than was expected, or puts back what it cost less.
    pub fn settle(&self, usd: f64, expected: f64) {
        *self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner) += usd - expected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_for_cannot_be_spent_again() {
        let purse = Purse::new(Some(5.0));
        assert!(purse.spend("p", Some(3.0)).is_ok());
        assert!(purse.spend("p", Some(3.0)).is_err());
        assert!(purse.spend("p", None).is_err(), "an unknown price is over any budget");
        assert!(purse.spend("p", Some(2.0)).is_ok());
        purse.settle(9.0, 3.0);
        assert!(purse.spend("p", Some(0.0)).is_err(), "it cost more than there was");
        assert!(Purse::new(None).spend("p", None).is_ok());
    }
}
