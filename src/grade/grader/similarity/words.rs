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

/// ROUGE-N (Lin 2004): the F score of runs of words in common.
pub fn rouge(wanted: &str, said: &str, length: usize) -> f64 {
    let (wanted, said) = (words(wanted), words(said));
    let runs = |text: &[String]| (text.len() + 1).saturating_sub(length);
    f1(shared_runs(&wanted, &said, length), runs(&wanted), runs(&said))
}

/// ROUGE-L (Lin 2004): the F score of the longest run of words, with gaps, that both have in the same order.
pub fn rouge_l(wanted: &str, said: &str) -> f64 {
    let (wanted, said) = (words(wanted), words(said));
    f1(longest(&wanted, &said), wanted.len(), said.len())
}

/// How long the longest run is, with gaps, that both have in the same order.
pub fn longest<T: PartialEq>(wanted: &[T], said: &[T]) -> usize {
    let mut row = vec![0_usize; said.len() + 1];
    for part in wanted {
        let mut before = 0;
        for (at, other) in said.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if part == other { before + 1 } else { above.max(row[at]) };
            before = above;
        }
    }
    row[said.len()]
}

/// The F1 of the words in common, as SQuAD has it (Rajpurkar et al. 2016): without case, signs and articles, and two texts without
/// a word are the same.
pub fn token_f1(wanted: &str, said: &str) -> f64 {
    let tokens = |text: &str| {
        let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
        plain.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (wanted, said) = (tokens(wanted), tokens(said));
    if wanted.is_empty() || said.is_empty() {
        return f64::from(u8::from(wanted == said));
    }
    f1(shared_runs(&wanted, &said, 1), wanted.len(), said.len())
}

/// How many runs of words two texts have in common, each as often as in both.
fn shared_runs(wanted: &[String], said: &[String], length: usize) -> usize {
    let mut there: HashMap<&[String], usize> = HashMap::new();
    wanted.windows(length).for_each(|run| *there.entry(run).or_default() += 1);
    said.windows(length).filter(|run| there.get_mut(run).is_some_and(|left| std::mem::replace(left, left.saturating_sub(1)) > 0)).count()
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

    #[test]
    fn tokens_are_those_of_squad() {
        // By the rules of `compute_f1` in SQuAD's script, version 2.0.
        for (said, wanted, score) in [
            ("The cat sat on the mat.", "A cat is sitting on the mat!", 2.0 / 3.0),
            ("5-7 working days", "It takes 57 days", 4.0 / 7.0),
            ("the", "an", 1.0),
            ("the", "Rome", 0.0),
            ("Rome, Rome", "Rome", 2.0 / 3.0),
            ("It's Köln's", "its Kölns", 1.0),
        ] {
            assert!((token_f1(wanted, said) - score).abs() < 1e-9, "{said}: {}", token_f1(wanted, said));
        }
    }
}
