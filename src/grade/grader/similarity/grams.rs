use std::collections::HashMap;
use std::hash::Hash;
use std::sync::LazyLock;

use regex::Regex;

use super::super::super::statistics::count;
use super::f_score;

/// How many runs of `length` two texts have in common, each as often as in both, and how many each has.
pub fn shared<T: Hash + Eq>(wanted: &[T], said: &[T], length: usize) -> (usize, usize, usize) {
    let mut there: HashMap<&[T], usize> = HashMap::new();
    for run in wanted.windows(length) {
        *there.entry(run).or_default() += 1;
    }
    let mut common = 0;
    for run in said.windows(length) {
        if let Some(left) = there.get_mut(run).filter(|left| **left > 0) {
            *left -= 1;
            common += 1;
        }
    }
    let runs = |text: &[T]| (text.len() + 1).saturating_sub(length);
    (common, runs(wanted), runs(said))
}

/// BLEU of one sentence (Papineni et al. 2002) as sacreBLEU has it: runs of up to four tokens, as many as there are, with exponential
/// smoothing (Chen and Cherry 2014, method 3), and less for what is shorter than what was wanted.
pub fn bleu(wanted: &str, said: &str) -> f64 {
    const LONGEST: usize = 4;
    let (wanted, said) = (tokens(wanted), tokens(said));
    let counts: Vec<(usize, usize)> =
        (1..=LONGEST).map(|length| shared(&wanted, &said, length)).map(|(common, _, runs)| (common, runs)).take_while(|(_, runs)| *runs > 0).collect();
    if counts.iter().all(|(common, _)| *common == 0) {
        return 0.0;
    }
    let mut smoothing = 1.0;
    let logs = counts.iter().map(|&(common, runs)| {
        if common == 0 {
            smoothing *= 2.0;
            (1.0 / (smoothing * count(runs))).ln()
        } else {
            (count(common) / count(runs)).ln()
        }
    });
    let mean = logs.sum::<f64>() / count(counts.len());
    let brevity = if said.len() < wanted.len() { 1.0 - count(wanted.len()) / count(said.len()) } else { 0.0 };
    (mean + brevity).exp()
}

/// Tokens as the script `mteval-v13a` of NIST makes them: signs stand alone, but for points and commas within numbers.
pub fn tokens(text: &str) -> Vec<String> {
    static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        [(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", " $1 "), (r"([^0-9])([\.,])", "$1 $2 "), (r"([\.,])([^0-9])", " $1 $2"), (r"([0-9])(-)", "$1 $2 ")]
            .map(|(pattern, to)| (Regex::new(pattern).expect("the rules of mteval-v13a are patterns"), to))
    });
    let text = RULES.iter().fold(format!(" {text} "), |text, (pattern, to)| pattern.replace_all(&text, *to).into_owned());
    text.split_whitespace().map(str::to_owned).collect()
}

/// chrF (Popovic 2015) as sacreBLEU has it: runs of up to six characters without white space, what was wanted twice as heavy.
pub fn chrf(wanted: &str, said: &str) -> f64 {
    const LONGEST: usize = 6;
    const WEIGHT: f64 = 2.0;
    let characters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<char>>();
    let (wanted, said) = (characters(wanted), characters(said));
    let all = (1..=LONGEST).map(|length| shared(&wanted, &said, length)).filter(|(_, wanted, said)| *wanted > 0 && *said > 0);
    let (mut precision, mut recall, mut lengths) = (0.0, 0.0, 0);
    for (common, wanted, said) in all {
        precision += count(common) / count(said);
        recall += count(common) / count(wanted);
        lengths += 1;
    }
    if lengths == 0 { 0.0 } else { f_score(precision / count(lengths), recall / count(lengths), WEIGHT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_sacrebleu() {
        // sacreBLEU 2.5: `sentence_bleu(said, [wanted])` and `sentence_chrf(said, [wanted])`, divided by 100.
        for (said, wanted, by_bleu, by_chrf) in [
            ("The cat sat on the mat.", "The cat is sitting on the mat.", 0.423_837, 0.496_485),
            ("Your card will arrive in 5-7 days, I think.", "The card arrives within 5-7 working days.", 0.136_744, 0.360_24),
            ("no", "yes", 0.0, 0.0),
            ("identical text here", "identical text here", 1.0, 1.0),
            ("Grüße aus Köln", "Viele Grüße aus Köln!", 0.513_417, 0.659_819),
        ] {
            assert!((bleu(wanted, said) - by_bleu).abs() < 1e-5, "{said}: {}", bleu(wanted, said));
            assert!((chrf(wanted, said) - by_chrf).abs() < 1e-5, "{said}: {}", chrf(wanted, said));
        }
        assert!(bleu("", "").abs() < 1e-12 && chrf("", "a").abs() < 1e-12);
    }
}
