use std::time::{Duration, Instant};

/// After so many failures one after the other a provider rests.
const FAILURES: u32 = 3;
/// The first rest and the longest; each is twice the one before.
const REST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// How a provider has been lately.
#[derive(Debug)]
pub struct Health {
    failures: u32,
    rest: Duration,
    rests_until: Option<Instant>,
    /// What began before this tells of a time that is over.
    since: Instant,
}

impl Health {
    pub fn new(now: Instant) -> Self {
        Self { failures: 0, rest: Duration::ZERO, rests_until: None, since: now }
    }

    /// For how long it is not asked. Once that is over, one request is let through to see, and the others wait for what comes of it.
    pub fn rests(&mut self, now: Instant) -> Option<Duration> {
        let until = self.rests_until?;
        if until > now {
            return Some(until - now);
        }
        self.rests_until = Some(now + self.rest);
        self.since = now;
        None
    }

    /// Whether it is resting, or being tried by one after a rest.
    pub fn is_resting(&self) -> bool {
        self.rests_until.is_some()
    }

    /// Takes in how a request went that began at a time.
    pub fn told(&mut self, is_well: bool, began: Instant, now: Instant) {
        if began < self.since {
            return;
        }
        if is_well {
            if self.rests_until.is_some() {
                self.since = now;
            }
            (self.failures, self.rest, self.rests_until) = (0, Duration::ZERO, None);
            return;
        }
        self.failures += 1;
        if self.failures >= FAILURES || self.rests_until.is_some() {
            self.rest = (self.rest * 2).clamp(REST, LONGEST);
            (self.failures, self.rests_until, self.since) = (0, Some(now + self.rest), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_fails_again_and_again_rests_and_is_tried_by_one() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let second = Duration::from_secs(1);
        let mut health = Health::new(start);
        health.told(false, at(0), at(1));
        health.told(false, at(0), at(2));
        assert_eq!(health.rests(at(3)), None);
        health.told(false, at(0), at(3));
        assert_eq!(health.rests(at(3)), Some(second));
        (0..20).for_each(|_| health.told(false, at(1), at(4)));
        assert_eq!(health.rests(at(1003)), None, "what had begun before is the same incident, and one may see whether it is well");
        assert_eq!(health.rests(at(1003)), Some(second), "and no other meanwhile");
        health.told(false, at(1003), at(1010));
        assert_eq!(health.rests(at(1010)), Some(2 * second), "it rests longer each time");
        assert_eq!(health.rests(at(3010)), None);
        health.told(true, at(3010), at(3020));
        health.told(false, at(1), at(3021));
        assert_eq!((health.rests(at(3021)), health.failures), (None, 0));
    }
}
