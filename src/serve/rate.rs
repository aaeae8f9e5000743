use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many requests each key may send: a bucket of a minute's worth that fills again as time goes by.
#[derive(Debug)]
pub struct Rates {
    a_minute: Option<u32>,
    buckets: Mutex<BTreeMap<String, (f64, Instant)>>,
}

impl Rates {
    pub fn new(a_minute: Option<u32>) -> Self {
        Self { a_minute, buckets: Mutex::default() }
    }

    /// Takes a request out of a key's bucket, or says in how many seconds there is one again.
    pub fn take(&self, key: &str, now: Instant) -> Result<(), u64> {
        let Some(full) = self.a_minute.map(f64::from) else {
            return Ok(());
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, last) = buckets.entry(key.to_owned()).or_insert((full, now));
        *left = (*left + now.saturating_duration_since(*last).as_secs_f64() * full / 60.0).min(full);
        *last = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to 60")]
        let seconds = ((1.0 - *left) * 60.0 / full).ceil().max(1.0) as u64;
        Err(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_key_has_a_minutes_worth_that_fills_again() {
        let (rates, now) = (Rates::new(Some(2)), Instant::now());
        assert_eq!([rates.take("a", now), rates.take("a", now), rates.take("a", now), rates.take("b", now)], [Ok(()), Ok(()), Err(30), Ok(())]);
        let later = now + Duration::from_secs(31);
        assert_eq!([rates.take("a", later), rates.take("a", later)], [Ok(()), Err(29)]);
        assert!((0..1000).all(|_| Rates::new(None).take("a", now).is_ok()));
    }
}
