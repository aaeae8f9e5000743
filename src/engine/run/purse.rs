//! Budgets: what a run, or a stage of it, may still spend.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::config::{Budget, stem};
use crate::provider::{Cost, ProviderError, dollars};

/// What may be spent, and what of it is spoken for.
#[derive(Debug, Default)]
pub struct Purse {
    /// Whose it is, in words.
    of: String,
    budget: Budget,
    spoken_for: Mutex<Spent>,
}

/// Dollars and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    pub usd: f64,
    pub tokens: f64,
}

impl Spent {
    /// What is expected to be spent, as far as that is known.
    pub fn of(cost: Cost) -> Self {
        Self { usd: cost.usd.unwrap_or_default(), tokens: cost.tokens.unwrap_or_default() }
    }
}

impl Purse {
    /// A purse with so much in it.
    pub fn new(of: impl Into<String>, budget: Budget) -> Self {
        Self { of: of.into(), budget, spoken_for: Mutex::default() }
    }

    /// Whether tokens are counted.
    pub const fn bounds_tokens(&self) -> bool {
        self.budget.tokens.is_some()
    }

    /// Takes an amount out, before it is spent. What nobody knows the price of is over any budget.
    pub fn spend(&self, provider: &str, cost: Cost) -> Result<(), ProviderError> {
        let mut spoken_for = self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |budget: Option<f64>, spoken_for: f64, cost: Option<f64>, shown: fn(f64) -> String| {
            let left = budget? - spoken_for;
            (!cost.is_some_and(|cost| cost <= left)).then(|| ProviderError::OverBudget {
                provider: provider.to_owned(),
                cost: cost.map_or_else(|| "an unknown amount".to_owned(), |cost| format!("about {}", shown(cost))),
                of: self.of.clone(),
                budget: shown(budget.unwrap_or_default()),
                left: shown(left),
            })
        };
        let usd = over(self.budget.usd, spoken_for.usd, cost.usd, dollars);
        match usd.or_else(|| over(self.budget.tokens, spoken_for.tokens, cost.tokens, |tokens| format!("{tokens:.0} tokens"))) {
            Some(over) => Err(over),
            None => {
                let cost = Spent::of(cost);
                *spoken_for = Spent { usd: spoken_for.usd + cost.usd, tokens: spoken_for.tokens + cost.tokens };
                Ok(())
            }
        }
    }

    /// Takes out what something cost more than was expected, or puts back what it cost less.
    pub fn settle(&self, spent: Spent, expected: Spent) {
        let mut spoken_for = self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner);
        spoken_for.usd += spent.usd - expected.usd;
        spoken_for.tokens += spent.tokens - expected.tokens;
    }
}

/// The purse of a run, and those of the stages that have one. Instances of a stage share one.
#[derive(Debug, Default)]
pub struct Purses {
    run: Purse,
    stages: HashMap<String, Purse>,
}

impl Purses {
    /// The budgets of a run and of its stages by name, without what makes them instances.
    pub fn new<'a>(run: Budget, stages: impl Iterator<Item = (&'a str, Budget)>) -> Self {
        let stages = stages.filter(|(_, budget)| !budget.is_open()).map(|(stage, budget)| (stem(stage), budget));
        Self { run: Purse::new("the run", run), stages: stages.map(|(stage, budget)| (stage.to_owned(), Purse::new(format!("`{stage}`"), budget))).collect() }
    }

    fn all(&self, stage: &str) -> impl Iterator<Item = &Purse> {
        self.stages.get(stem(stage)).into_iter().chain([&self.run])
    }

    /// Whether tokens are counted for a stage.
    pub fn bounds_tokens(&self, stage: &str) -> bool {
        self.all(stage).any(Purse::bounds_tokens)
    }

    /// Takes an amount out of all purses that a stage spends from, or of none.
    pub fn spend(&self, stage: &str, provider: &str, cost: Cost) -> Result<(), ProviderError> {
        let mut taken: Vec<&Purse> = Vec::new();
        for purse in self.all(stage) {
            if let Err(error) = purse.spend(provider, cost) {
                taken.iter().for_each(|purse| purse.settle(Spent::default(), Spent::of(cost)));
                return Err(error);
            }
            taken.push(purse);
        }
        Ok(())
    }

    /// Takes out what something of a stage cost more than was expected, or puts back what it cost less.
    pub fn settle(&self, stage: &str, spent: Spent, expected: Spent) {
        self.all(stage).for_each(|purse| purse.settle(spent, expected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cost(usd: f64, tokens: f64) -> Cost {
        Cost { usd: Some(usd), tokens: Some(tokens) }
    }

    #[test]
    fn what_is_spoken_for_cannot_be_spent_again() {
        let purse = Purse::new("it", Budget { usd: Some(5.0), tokens: None });
        assert!(purse.spend("p", cost(3.0, 1e9)).is_ok());
        assert!(purse.spend("p", cost(3.0, 0.0)).is_err());
        assert!(purse.spend("p", Cost::default()).is_err(), "an unknown price is over any budget");
        assert!(purse.spend("p", cost(2.0, 0.0)).is_ok());
        purse.settle(Spent { usd: 9.0, tokens: 0.0 }, Spent { usd: 3.0, tokens: 0.0 });
        assert!(purse.spend("p", cost(0.0, 0.0)).is_err(), "it cost more than there was");
        assert!(Purse::new("it", Budget::default()).spend("p", Cost::default()).is_ok());
        let tokens = Purse::new("it", Budget { usd: None, tokens: Some(100.0) });
        assert!(tokens.spend("p", Cost { usd: None, tokens: Some(100.0) }).is_ok());
        assert!(tokens.spend("p", Cost { usd: None, tokens: Some(1.0) }).is_err());
    }

    #[test]
    fn a_stage_spends_from_its_own_and_from_that_of_the_run() {
        let few = Budget { usd: Some(2.0), tokens: None };
        let purses = Purses::new(Budget { usd: Some(3.0), tokens: None }, [("a[x=1]", few), ("a[x=2]", few), ("b", Budget::default())].into_iter());
        assert!(purses.spend("a[x=1]", "p", cost(1.5, 0.0)).is_ok());
        assert!(purses.spend("a[x=2]", "p", cost(1.0, 0.0)).is_err(), "instances share one");
        assert!(purses.spend("b", "p", cost(1.5, 0.0)).is_ok());
        assert!(purses.spend("a[x=2]", "p", cost(0.5, 0.0)).is_err(), "the run has none left");
        purses.settle("b", Spent::default(), Spent { usd: 1.5, tokens: 0.0 });
        assert!(purses.spend("a[x=2]", "p", cost(0.5, 0.0)).is_ok(), "what the run refused was not taken from the stage");
    }
}
