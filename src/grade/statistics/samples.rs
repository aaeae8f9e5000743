//! What several answers to one question tell.

use super::count;

/// How likely at least one of `k` answers is right, by `right` of `all` that were: the unbiased estimate of pass@k (Chen et al. 2021,
/// "Evaluating Large Language Models Trained on Code").
#[must_use]
pub fn pass_at(all: usize, right: usize, k: usize) -> f64 {
    if right == 0 || k == 0 || k > all {
        return 0.0;
    }
    let none: f64 = (all - right + 1..=all).map(|at| 1.0 - count(k) / count(at)).map(|share| share.max(0.0)).product();
    1.0 - none
}

/// The numbers of answers for which it is told, out of so many.
pub fn told(all: usize) -> impl Iterator<Item = usize> {
    let usual = [2, 3, 5, 10, 20, 50].into_iter().filter(move |&k| k < all);
    usual.chain((all > 1).then_some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_share_of_draws_with_one_that_is_right() {
        for all in 1..=7_usize {
            for right in 0..=all {
                for k in 1..=all {
                    // All ways to draw k of them, of which the first `right` are right.
                    let draws = (0..1_usize << all).filter(|draw| draw.count_ones() as usize == k);
                    let (mut hits, mut number) = (0, 0);
                    draws.for_each(|draw| {
                        number += 1;
                        hits += usize::from(draw & ((1 << right) - 1) != 0);
                    });
                    let wanted = count(hits) / count(number);
                    assert!((pass_at(all, right, k) - wanted).abs() < 1e-12, "{all} {right} {k}");
                }
            }
        }
        assert_eq!(told(1).count(), 0);
        assert_eq!(told(10).collect::<Vec<_>>(), [2, 3, 5, 10]);
    }
}
