use std::collections::{BTreeMap, VecDeque};

use super::arm::Arm;

/// So many answers wait for a grade; those before them are forgotten.
const MOST: usize = 100_000;

/// The answers of late whose version is tried beside another, by the names of the requests.
#[derive(Debug, Default)]
pub struct Recent {
    arms: BTreeMap<String, Arm>,
    order: VecDeque<String>,
}

impl Recent {
    /// Remembers which version answered a request.
    pub fn keep(&mut self, request: String, arm: Arm) {
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.arms.remove(&oldest);
        }
        self.order.push_back(request.clone());
        self.arms.insert(request, arm);
    }

    /// The version that answered a request, once.
    pub fn take(&mut self, request: &str) -> Option<Arm> {
        self.arms.remove(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Trial, TrialWay};

    #[test]
    fn an_answer_is_graded_once_and_old_ones_are_forgotten() {
        let arm = Arm { alias: "a".into(), name: "a-2".into(), trial: Trial { version: 2, share: 0.5, way: TrialWay::Shadow, graders: None }, is_tried: true };
        let mut recent = Recent::default();
        (0..=MOST).for_each(|at| recent.keep(at.to_string(), arm.clone()));
        assert!(recent.take("0").is_none() && recent.take("1").is_some() && recent.take("1").is_none());
    }
}
