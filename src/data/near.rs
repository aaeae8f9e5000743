//! Which texts are nearly the same: MinHash over word 5-grams, candidates by locality-sensitive hashing, and the true similarity of
//! each candidate (Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3).

use std::path::PathBuf;

use rayon::prelude::*;

use super::DataError;
use super::numbers::{Buffer, Numbers};
use super::ordered::Ordered;

/// Words that go together.
const WORDS: usize = 5;
/// Permutations of a signature.
const PERMUTATIONS: usize = 128;

/// The word 5-grams of a text as sorted hashes, each once. Case and punctuation do not count. A shorter text is one shingle.
#[must_use]
pub fn shingles(text: &str) -> Vec<u32> {
    let mut words: Vec<u64> = Vec::new();
    let mut word = None;
    // Most texts are ASCII, or begin so.
    let plain = text.bytes().position(|byte| !byte.is_ascii()).unwrap_or(text.len());
    // A letter before a mark that is none may belong to it: the word that reaches over the end is for the slow way.
    let plain = text[..plain].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |last| last + 1);
    for byte in text[..plain].bytes() {
        if byte.is_ascii_alphanumeric() {
            let hash = word.get_or_insert(SEED);
            *hash = mixed(*hash, u64::from(byte.to_ascii_lowercase()));
        } else {
            words.extend(word.take());
        }
    }
    for c in text[plain..].chars() {
        if c.is_alphanumeric() {
            let hash = word.get_or_insert(SEED);
            if c.is_ascii() {
                *hash = mixed(*hash, u64::from(c.to_ascii_lowercase() as u32));
            } else {
                c.to_lowercase().for_each(|c| *hash = mixed(*hash, u64::from(c as u32)));
            }
        } else {
            words.extend(word.take());
        }
    }
    words.extend(word);
    let hash = |gram: &[u64]| {
        let hash = gram.iter().fold(SEED, |hash, word| mixed(hash, *word));
        u32::try_from((hash ^ (hash >> 29)).wrapping_mul(FACTOR) >> 32).unwrap_or_default()
    };
    let mut shingles: Vec<u32> = if words.len() < WORDS { vec![hash(&words)] } else { words.windows(WORDS).map(hash).collect() };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xff51_afd7_ed55_8ccd;

const fn mixed(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(FACTOR);
    hash ^ (hash >> 32)
}

/// The similarity of two sets of sorted hashes: what is in both, of what is in either.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of words are far below 2^52")]
pub fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let (mut left, mut right, mut both) = (0, 0, 0_usize);
    while let (Some(x), Some(y)) = (a.get(left), b.get(right)) {
        both += usize::from(x == y);
        (left, right) = (left + usize::from(x <= y), right + usize::from(y <= x));
    }
    let either = a.len() + b.len() - both;
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

/// A family of permutations.
#[derive(Debug)]
pub struct MinHash {
    factors: [u32; PERMUTATIONS],
    offsets: [u32; PERMUTATIONS],
}

impl Default for MinHash {
    fn default() -> Self {
        let mut state = SEED;
        let mut next = || {
            state = mixed(state, FACTOR);
            u32::try_from(state >> 32).unwrap_or_default()
        };
        Self { factors: std::array::from_fn(|_| next() | 1), offsets: std::array::from_fn(|_| next()) }
    }
}

impl MinHash {
    /// The least value of each permutation over a set.
    #[must_use]
    pub fn signature(&self, set: &[u32]) -> [u32; PERMUTATIONS] {
        let mut least = [u32::MAX; PERMUTATIONS];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for &value in set {
                    for ((least, factor), offset) in least.iter_mut().zip(&self.factors).zip(&self.offsets) {
                        *least = (*least).min(value.wrapping_mul(*factor).wrapping_add(*offset));
                    }
                }
            },
        );
        least
    }

    /// The similarity that two signatures speak for: an estimate of [`jaccard`], with a standard error of at most 0.045.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "at most 128")]
    pub fn estimate(a: &[u32; PERMUTATIONS], b: &[u32; PERMUTATIONS]) -> f64 {
        a.iter().zip(b).filter(|(x, y)| x == y).count() as f64 / PERMUTATIONS as f64
    }
}

/// Rows of a band, so that two texts of this similarity are candidates with a probability of at least 98 %.
fn rows_of_band(threshold: f64) -> usize {
    let found = |rows: usize| {
        let bands = i32::try_from(PERMUTATIONS / rows).unwrap_or(1);
        1.0 - (1.0 - threshold.powi(i32::try_from(rows).unwrap_or(1))).powi(bands)
    };
    (1..=16).rev().find(|&rows| found(rows) >= 0.98).unwrap_or(1)
}

/// What is kept in memory of all sets, in numbers, and of the keys of all bands in as many bytes; of what is kept for each text it is
/// a quarter of that. More goes to disk.
const HELD: usize = 64 << 20;

/// Texts that are being grouped by what is nearly the same.
#[derive(Debug)]
pub struct Groups {
    threshold: f64,
    rows: usize,
    family: MinHash,
    folder: PathBuf,
    most: usize,
    /// The sets of all texts, one after the other.
    sets: Numbers,
    /// Where in them the set of each text ends.
    ends: Numbers,
    texts: usize,
    /// For each band, the keys of all texts, each above the number of its text.
    bands: Vec<Ordered<u64>>,
}

impl Groups {
    /// Groups by a similarity, from 0 to 1. What does not fit into memory goes to files in a folder of its own, which is made; `most`
    /// numbers of the sets do, where it is not the usual.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(threshold: f64, folder: PathBuf, most: Option<usize>) -> Result<Self, DataError> {
        let most = most.unwrap_or(HELD);
        std::fs::create_dir(&folder).map_err(DataError::disk(&folder))?;
        let rows = rows_of_band(threshold);
        let bands = PERMUTATIONS / rows;
        let band = |band: usize| Ordered::new(folder.join(format!("band-{band}")), most / 2 / bands);
        let (sets, ends) = (Numbers::new(folder.join("sets"), most), Numbers::new(folder.join("ends"), most / 4));
        let bands = (0..bands).map(band).collect();
        Ok(Self { threshold, rows, family: MinHash::default(), folder, most, sets, ends, texts: 0, bands })
    }

    /// Adds texts.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn add(&mut self, texts: &[String]) -> Result<(), DataError> {
        let key = |band: &[u32]| band.iter().fold(SEED, |hash, value| mixed(hash, u64::from(*value))) >> 32;
        let made: Vec<(Vec<u32>, Vec<u64>)> = texts
            .par_iter()
            .map(|text| {
                let set = shingles(text);
                let keys = self.family.signature(&set).chunks_exact(self.rows).map(key).collect();
                (set, keys)
            })
            .collect();
        let full = DataError::disk(&self.folder);
        for (set, _) in &made {
            self.sets.extend(set).map_err(&full)?;
            self.ends.push_wide(self.sets.len() as u64)?;
        }
        for (at, band) in self.bands.iter_mut().enumerate() {
            (self.texts..).zip(&made).try_for_each(|(text, (_, keys))| band.push(keys[at] << 32 | text as u64))?;
        }
        self.texts += made.len();
        Ok(())
    }

    /// For each text the first of its group: of all that are as similar as that, directly or by way of others.
    ///
    /// # Errors
    /// When what was written cannot be read again.
    pub fn firsts(mut self) -> Result<Numbers, DataError> {
        let mut groups = Union::of(self.texts, Numbers::new(self.folder.join("groups"), self.most / 4))?;
        let mut buffers = (Buffer::default(), Buffer::default());
        for band in std::mem::take(&mut self.bands) {
            let (mut key, mut seen) = (None, Vec::new());
            for candidate in band.into_order()? {
                let candidate = candidate?;
                if key.replace(candidate >> 32) != Some(candidate >> 32) {
                    seen.clear();
                }
                self.join(candidate as u32, &mut seen, &mut groups, &mut buffers)?;
            }
        }
        let firsts = groups.firsts()?;
        let _ = std::fs::remove_dir_all(&self.folder);
        Ok(firsts)
    }

    /// A candidate joins the first of those before it that it is similar to, so that many that are all the same cost one look each.
    fn join(&self, text: u32, seen: &mut Vec<u32>, groups: &mut Union, buffers: &mut (Buffer, Buffer)) -> Result<(), DataError> {
        if seen.is_empty() {
            seen.push(text);
            return Ok(());
        }
        let group = groups.first(text)?;
        let own = self.set(text, &mut buffers.0)?;
        for &other in &*seen {
            if groups.0.get(other as usize)? == group || jaccard(self.set(other, &mut buffers.1)?, own) >= self.threshold {
                return groups.unite(other, text);
            }
        }
        seen.push(text);
        Ok(())
    }

    fn set<'a>(&'a self, text: u32, buffer: &'a mut Buffer) -> Result<&'a [u32], DataError> {
        let text = text as usize;
        let begins = text.checked_sub(1).map_or(Ok(0), |before| self.ends.wide(before))?;
        self.sets.some(begins as usize, self.ends.wide(text)? as usize, buffer).map_err(DataError::disk(&self.folder))
    }
}

/// Disjoint sets; the root of each is its first member.
struct Union(Numbers);

impl Union {
    /// Sets of one member each.
    fn of(members: usize, none: Numbers) -> Result<Self, DataError> {
        Ok(Self(none.with(0..members as u32)?))
    }

    fn first(&mut self, member: u32) -> Result<u32, DataError> {
        let mut root = member;
        loop {
            let above = self.0.get(root as usize)?;
            if above == root {
                break;
            }
            root = above;
        }
        let mut at = member;
        loop {
            let above = self.0.get(at as usize)?;
            if above == root {
                return Ok(root);
            }
            self.0.set(at as usize, root)?;
            at = above;
        }
    }

    fn unite(&mut self, a: u32, b: u32) -> Result<(), DataError> {
        let (a, b) = (self.first(a)?, self.first(b)?);
        self.0.set(a.max(b) as usize, a.min(b))
    }

    /// The first member of the set of each.
    fn firsts(mut self) -> Result<Numbers, DataError> {
        for member in 0..self.0.len() {
            // The one above comes before, and is done.
            let above = self.0.get(member)? as usize;
            if above != member {
                let first = self.0.get(above)?;
                self.0.set(member, first)?;
            }
        }
        Ok(self.0)
    }
}

/// How many rows the group has that each row is the first of: none for one that is not.
///
/// # Errors
/// When what was written cannot be read again.
pub fn sizes(firsts: &Numbers, none: Numbers) -> Result<Numbers, DataError> {
    let mut sizes = none.with(std::iter::repeat_n(0, firsts.len()))?;
    firsts.each(|_, some| {
        some.iter().try_for_each(|&first| {
            let rows = sizes.get(first as usize)?;
            sizes.set(first as usize, rows + 1)
        })
    })?;
    Ok(sizes)
}

/// The groups of two ways to group the same rows, taken together: what is one in either is one.
///
/// # Errors
/// When what was written cannot be read again.
pub fn joined(one: Numbers, other: &Numbers) -> Result<Numbers, DataError> {
    // Each row points at one before it or at itself, as in the sets themselves.
    let mut groups = Union(one);
    other.each(|from, firsts| (from as u32..).zip(firsts).try_for_each(|(row, &first)| groups.unite(row, first)))?;
    groups.firsts()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(numbers: &Numbers) -> Vec<u32> {
        (0..numbers.len()).map(|at| numbers.get(at).expect("it can be read")).collect()
    }

    #[test]
    fn an_estimate_is_near_the_true_similarity() {
        let family = MinHash::default();
        let mut worst: f64 = 0.0;
        for shared in (0..=300).step_by(10) {
            let set = |from: u32| {
                let mut set: Vec<u32> = (from..from + 300).map(|number| mixed(SEED, u64::from(number)) as u32).collect();
                set.sort_unstable();
                set
            };
            let (a, b) = (set(0), set(300 - shared));
            worst = worst.max((MinHash::estimate(&family.signature(&a), &family.signature(&b)) - jaccard(&a, &b)).abs());
        }
        // Three standard errors.
        assert!(worst < 0.135, "{worst}");
    }

    #[test]
    fn groups_of_known_similarity_are_found() {
        let word = |group: usize, at: usize| format!("w{}", mixed(group as u64 + 1, at as u64) % 5000);
        let mut texts = Vec::new();
        for group in 0..400 {
            let words: Vec<String> = (0..100).map(|at| word(group, at)).collect();
            texts.push(words.join(" "));
            // A word in a hundred changed: five 5-grams of 96 differ.
            for copy in 0..2 {
                let mut words = words.clone();
                words[20 + copy * 40] = "changed".into();
                texts.push(words.join(" "));
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let firsts = |most: usize| {
            let mut groups = Groups::new(0.8, folder.path().join(format!("near-{most}")), Some(most)).expect("a folder");
            texts.chunks(64).for_each(|some| groups.add(some).expect("there is room"));
            all(&groups.firsts().expect("it can be read"))
        };
        let on_disk = firsts(1000);
        let firsts = firsts(HELD);
        assert!(on_disk == firsts, "where they lie changes nothing");
        let right = (0..).zip(&firsts).filter(|(row, first)| **first == row / 3 * 3).count();
        assert!(right as f64 >= 0.99 * texts.len() as f64, "{right} of {}", texts.len());
        assert!((0..).zip(&firsts).all(|(row, first)| first / 3 == row / 3), "no two groups are one");
    }

    #[test]
    fn short_texts_are_the_same_only_if_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let firsts = |texts: [&str; 4]| {
            let mut groups = Groups::new(0.8, folder.path().join("near"), None).expect("a folder");
            groups.add(&texts.map(str::to_owned)).expect("there is room");
            all(&groups.firsts().expect("it can be read"))
        };
        assert_eq!(firsts(["Hello, there!", "hello there", "hello you", ""]), [0, 0, 2, 3]);
    }
}
