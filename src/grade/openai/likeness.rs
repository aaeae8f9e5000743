use super::super::grader::similarity::{bleu, longest, rouge, rouge_l, shared, tokens};
use super::super::statistics::count;

/// How near two texts are, by the names that OpenAI's API has.
#[derive(Clone, Copy, Debug)]
pub enum Measure {
    Fuzzy,
    Bleu,
    Gleu,
    Rouge(usize),
    RougeL,
}

impl Measure {
    pub fn of(name: &str) -> Result<Self, String> {
        Ok(match name {
            "fuzzy_match" => Self::Fuzzy,
            "bleu" => Self::Bleu,
            "gleu" => Self::Gleu,
            "rouge_1" => Self::Rouge(1),
            "rouge_2" => Self::Rouge(2),
            "rouge_3" => Self::Rouge(3),
            "rouge_4" => Self::Rouge(4),
            "rouge_5" => Self::Rouge(5),
            "rouge_l" => Self::RougeL,
            "cosine" => return Err("`cosine` compares embeddings, which are not made here; take `fuzzy_match`".into()),
            "meteor" => return Err("`meteor` knows the words of a language, which are not here; take `rouge_l`".into()),
            other => return Err(format!("expected fuzzy_match, bleu, gleu, rouge_1 to rouge_5 or rouge_l, found {other:?}")),
        })
    }

    /// From 0 to 1: first what was wanted, then what was said.
    pub fn between(self, wanted: &str, said: &str) -> f64 {
        match self {
            Self::Fuzzy => fuzzy(wanted, said),
            Self::Bleu => bleu(wanted, said),
            Self::Gleu => gleu(wanted, said),
            Self::Rouge(length) => rouge(wanted, said, length),
            Self::RougeL => rouge_l(wanted, said),
        }
    }
}

/// The share of characters that are in the longest run with gaps of both, as `ratio` of RapidFuzz has it (the normalised indel
/// similarity).
fn fuzzy(wanted: &str, said: &str) -> f64 {
    let (wanted, said): (Vec<char>, Vec<char>) = (wanted.chars().collect(), said.chars().collect());
    if wanted.is_empty() && said.is_empty() {
        return 1.0;
    }
    2.0 * count(longest(&wanted, &said)) / count(wanted.len() + said.len())
}

/// The lesser of precision and recall of all runs of one to four tokens (Wu et al. 2016).
fn gleu(wanted: &str, said: &str) -> f64 {
    let (wanted, said) = (tokens(wanted), tokens(said));
    let all = (1..=4).map(|length| shared(&wanted, &said, length));
    let (common, theirs, ours) = all.fold((0, 0, 0), |sum, runs| (sum.0 + runs.0, sum.1 + runs.1, sum.2 + runs.2));
    count(common) / count(theirs.max(ours).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measures_are_those_of_others() {
        let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 5e-4, "{found} {wanted}");
        // RapidFuzz 3.14: fuzz.ratio("this is a test", "this is a test!") and ("kitten", "sitting"), divided by 100.
        close(fuzzy("this is a test", "this is a test!"), 0.965_517);
        close(fuzzy("kitten", "sitting"), 0.615_385);
        // NLTK 3.10: sentence_gleu([["the", "cat", "is", "on", "the", "mat"]], ["the", "cat", "sat", "on", "the", "mat"]).
        close(gleu("the cat is on the mat", "the cat sat on the mat"), 0.5);
        close(Measure::Rouge(3).between("a b c d", "a b c e"), 0.5);
    }
}
