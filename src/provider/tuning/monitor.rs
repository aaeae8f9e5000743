//! Looks at the losses while a model is trained, and says when enough is enough.

use super::wire::Losses;

/// What is watched, as declared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Care {
    /// Stop and keep the best where the validation loss did not get better for so many measurements, by at least so much.
    pub patience: Option<(usize, f64)>,
    /// A training loss over this is an explosion.
    pub loss: Option<Alarm>,
    /// A validation loss so far over the training loss is overfitting.
    pub gap: Option<Alarm>,
}

impl Care {
    /// The step at which losses say that it is enough, to keep the best before it.
    #[must_use]
    pub fn enough(self, losses: &[Losses]) -> Option<u64> {
        let mut monitor = Monitor::new(self);
        let verdicts = losses.iter().map(|losses| monitor.see(losses.step, losses.train, losses.validation));
        verdicts.into_iter().find_map(|verdict| if let Verdict::KeepBest { step, .. } = verdict { Some(step) } else { None })
    }
}

/// A bound, and what happens over it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// The bound.
    pub over: f64,
    /// Whether the training is stopped and fails; otherwise it is only said.
    pub stop: bool,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing.
    GoOn,
    /// Say this.
    Warn(String),
    /// Stop at this step, and keep the best so far.
    KeepBest {
        /// The step.
        step: u64,
        /// Why.
        why: String,
    },
    /// Stop, and fail.
    Fail(String),
}

/// Watches one training.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    care: Care,
    /// The last training loss: that of the validation may be told by itself.
    train: Option<f64>,
    best: Option<f64>,
    since: usize,
    warned: [bool; 2],
}

impl Monitor {
    /// Watches for what is declared.
    #[must_use]
    pub fn new(care: Care) -> Self {
        Self { care, ..Self::default() }
    }

    /// Watches the same from the beginning. What was warned of once is not again.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { warned: self.warned, ..Self::new(self.care) }
    }

    /// Takes the losses of a step, those that were measured.
    pub fn see(&mut self, step: u64, train: Option<f64>, validation: Option<f64>) -> Verdict {
        if let (Some(alarm), Some(loss)) = (self.care.loss, train)
            // A loss that is no number is over every bound.
            && !matches!(loss.partial_cmp(&alarm.over), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal))
        {
            let verdict = self.alarm(0, alarm, format!("the training loss is {loss:.3} at step {step}, over {}", alarm.over));
            if verdict != Verdict::GoOn {
                return verdict;
            }
        }
        self.train = train.or(self.train);
        if let (Some(alarm), Some(train), Some(validation)) = (self.care.gap, self.train, validation)
            && validation - train > alarm.over
        {
            let gap = validation - train;
            let verdict = self.alarm(1, alarm, format!("the validation loss is {gap:.3} over the training loss at step {step}, more than {}", alarm.over));
            if verdict != Verdict::GoOn {
                return verdict;
            }
        }
        match (self.care.patience, validation) {
            (Some((patience, delta)), Some(loss)) => self.wait(step, loss, patience, delta),
            _ => Verdict::GoOn,
        }
    }

    fn alarm(&mut self, which: usize, alarm: Alarm, message: String) -> Verdict {
        if alarm.stop {
            return Verdict::Fail(message);
        }
        // Once is enough: it would be said at every step.
        if std::mem::replace(&mut self.warned[which], true) { Verdict::GoOn } else { Verdict::Warn(message) }
    }

    fn wait(&mut self, step: u64, loss: f64, patience: usize, delta: f64) -> Verdict {
        if self.best.is_none_or(|best| loss < best - delta) {
            (self.best, self.since) = (Some(loss), 0);
            return Verdict::GoOn;
        }
        self.since += 1;
        if self.since < patience {
            return Verdict::GoOn;
        }
        let best = self.best.unwrap_or(loss);
        let why = format!("the validation loss did not get below {best:.3} for {} measurements, up to step {step}", self.since);
        Verdict::KeepBest { step, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_measurements_without_progress() {
        let mut monitor = Monitor::new(Care { patience: Some((2, 0.1)), ..Care::default() });
        let verdicts: Vec<Verdict> = [2.0, 1.5, 1.45, 1.3, 1.29, 1.28].iter().zip(1..).map(|(loss, step)| monitor.see(step, Some(1.0), Some(*loss))).collect();
        assert!(verdicts[..5].iter().all(|verdict| *verdict == Verdict::GoOn), "{verdicts:?}");
        assert!(matches!(verdicts[5], Verdict::KeepBest { step: 6, .. }), "{verdicts:?}");
        assert_eq!(monitor.see(7, Some(1.0), None), Verdict::GoOn);
    }

    #[test]
    fn alarms_warn_once_or_stop() {
        let alarm = |stop| Some(Alarm { over: 5.0, stop });
        let mut monitor = Monitor::new(Care { loss: alarm(false), gap: alarm(true), ..Care::default() });
        assert!(matches!(monitor.see(1, Some(9.0), None), Verdict::Warn(_)));
        assert_eq!(monitor.see(2, Some(9.0), None), Verdict::GoOn);
        assert_eq!(monitor.anew().see(1, Some(9.0), None), Verdict::GoOn, "it was said");
        assert!(matches!(monitor.see(3, Some(1.0), Some(7.0)), Verdict::Fail(_)));
        let mut monitor = Monitor::new(Care { loss: alarm(true), ..Care::default() });
        assert!(matches!(monitor.see(1, Some(f64::NAN), None), Verdict::Fail(_)));
    }
}
