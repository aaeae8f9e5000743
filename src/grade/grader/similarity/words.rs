use std::collections::HashMap;

use super::super::super::statistics::count;
use super::f_score;

/// Words in small letters, without signs.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn f1(common: usize, wanted: usize, said: usize) -> f64 {
    if wanted == 0 || said == 0 { 0.0 } else { f_score(count(common) / count(said), count(common) / count(wanted), 1.0) }
}

/// ROUGE-N (Lin 2004): the F score of runs of words in common. For single words it is the F1 of tokens, articles included.
pub fn rouge(wanted: &str, said: &str, length: usize) -> f64 {
    let (wanted, said) = (words(wanted), words(said));
    let mut there: HashMap<&[String], usize> = HashMap::new();
    wanted.windows(length).for_each(|run| *there.entry(run).or_default() += 1);
    let common = said.windows(length).filter(|run| there.get_mut(run).is_some_and(|left| std::mem::replace(left, left.saturating_sub(1)) > 0)).count();
    let runs = |text: &[String]| (text.len() + 1).saturating_sub(length);
    f1(common, runs(&wanted), runs(&said))
}

/// ROUGE-L (Lin 2004): the F score of the longest run of words, with gaps, that both have in the same order.
pub fn rouge_l(wanted: &str, said: &str) -> f64 {
    let (wanted, said) = (words(wanted), words(said));
    let mut row = vec![0_usize; said.len() + 1];
    for word in &wanted {
        let mut before = 0;
        for (at, other) in said.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if word == other { before + 1 } else { above.max(row[at]) };
            before = above;
        }
    }
    f1(row[said.len()], wanted.len(), said.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_rouge_score() {
        // rouge-score 0.1.2 without stemming: rouge1, rouge2, rougeL.
        for (said, wanted, scores) in [
            ("The cat sat on the mat.", "The cat is sitting on the mat.", [0.769_231, 0.545_455, 0.769_231]),
            ("Your card will arrive in 5-7 days, I think.", "The card arrives within 5-7 working days.", [0.444_444, 0.125, 0.444_444]),
            ("no", "yes", [0.0, 0.0, 0.0]),
            ("identical text here", "identical text here", [1.0, 1.0, 1.0]),
        ] {
            let found = [rouge(wanted, said, 1), rouge(wanted, said, 2), rouge_l(wanted, said)];
            assert!(found.iter().zip(scores).all(|(found, wanted)| (found - wanted).abs() < 1e-5), "{said}: {found:?}");
        }
    }
}
