/// The p values of many tests at once, each as high as it must be taken so that the chance of any false alarm among them stays what it
/// was for one (Holm 1979).
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut highest) = (vec![0.0; p.len()], 0.0);
    for (rank, at) in order.into_iter().enumerate() {
        highest = f64::max(highest, p[at] * super::count(p.len() - rank)).min(1.0);
        adjusted[at] = highest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_held_against_all_and_the_next_against_the_rest() {
        // As R's `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")`.
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        let wanted = [0.03, 0.06, 0.06, 0.02];
        assert!(found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{found:?}");
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }
}
