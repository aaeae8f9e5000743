use std::collections::{BTreeMap, HashMap};

use super::{Pair, words};

/// Learns merges from texts: again and again the pair that stands most often together becomes a token.
/// Ties go to the smaller pair, so that the same texts always give the same merges.
#[must_use]
pub fn learn_merges<'a>(texts: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<Pair> {
    let mut frequencies: BTreeMap<&str, u64> = BTreeMap::new();
    for text in texts {
        for word in words::split(text) {
            *frequencies.entry(word).or_default() += 1;
        }
    }
    let mut vocabulary: Vec<(Vec<u32>, u64)> = frequencies.into_iter().map(|(word, times)| (word.bytes().map(u32::from).collect(), times)).collect();
    let mut pairs = count_pairs(&vocabulary);
    let mut merges = Vec::with_capacity(count);
    while merges.len() < count {
        let best = pairs.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)));
        let Some((&pair, &times)) = best else { break };
        if times < 2 {
            break;
        }
        let token = 256 + u32::try_from(merges.len()).unwrap_or(u32::MAX);
        merges.push(pair);
        for (word, times) in &mut vocabulary {
            merge(word, *times, pair, token, &mut pairs);
        }
        pairs.retain(|_, times| *times > 0);
    }
    merges
}

fn count_pairs(vocabulary: &[(Vec<u32>, u64)]) -> HashMap<Pair, u64> {
    let mut pairs = HashMap::new();
    for (word, times) in vocabulary {
        for pair in word.windows(2) {
            *pairs.entry((pair[0], pair[1])).or_default() += times;
        }
    }
    pairs
}

/// Puts `token` in the place of every `pair` of a word and keeps the counts of pairs true.
fn merge(word: &mut Vec<u32>, times: u64, pair: Pair, token: u32, pairs: &mut HashMap<Pair, u64>) {
    if !word.windows(2).any(|two| (two[0], two[1]) == pair) {
        return;
    }
    for two in word.windows(2) {
        if let Some(count) = pairs.get_mut(&(two[0], two[1])) {
            *count = count.saturating_sub(times);
        }
    }
    let mut merged = Vec::with_capacity(word.len());
    let mut at = 0;
    while at < word.len() {
        if at + 1 < word.len() && (word[at], word[at + 1]) == pair {
            merged.push(token);
            at += 2;
        } else {
            merged.push(word[at]);
            at += 1;
        }
    }
    *word = merged;
    for two in word.windows(2) {
        *pairs.entry((two[0], two[1])).or_default() += times;
    }
}
