/// Words with what was counted of them: a table with one place for each word, which the last one that came has.
#[derive(Debug)]
pub struct Seen {
    places: Box<[(Word, u8)]>,
}

/// A word of at most 16 bytes: its first and its last, which overlap where it is shorter, and their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    first: u64,
    last: u64,
    length: u8,
}

/// Places, as a power of two: as many as the caches near a core hold.
const BITS: u32 = 13;

impl Default for Seen {
    fn default() -> Self {
        Self { places: vec![Default::default(); 1 << BITS].into() }
    }
}

impl Seen {
    /// The count of a word, which is made where the word is long or was not seen lately. It is at most the word's length in bytes.
    pub fn count(&mut self, word: &str, counted: impl FnOnce() -> usize) -> usize {
        let Some(known) = Word::of(word.as_bytes()) else {
            return counted();
        };
        let place = &mut self.places[known.place()];
        if place.0 != known {
            *place = (known, counted() as u8);
        }
        usize::from(place.1)
    }
}

impl Word {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (first, last) = match bytes.len() {
            0 => (0, 0),
            // The first, the middle and the last byte are all there are.
            length @ 1..=3 => (u64::from(bytes[0]) | u64::from(bytes[length / 2]) << 8, u64::from(bytes[length - 1])),
            4..=7 => (u64::from(u32::from_le_bytes(*bytes.first_chunk()?)), u64::from(u32::from_le_bytes(*bytes.last_chunk()?))),
            8..=16 => (u64::from_le_bytes(*bytes.first_chunk()?), u64::from_le_bytes(*bytes.last_chunk()?)),
            _ => return None,
        };
        Some(Self { first, last, length: bytes.len() as u8 })
    }

    /// Multiplies by odd numbers and takes the upper bits, on which all others have an influence.
    const fn place(self) -> usize {
        let mixed = self.first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.last.wrapping_mul(0xc2b2_ae3d_27d4_eb4f) ^ self.length as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_its_own_count_whatever_came_before() {
        let mut seen = Seen::default();
        let words: Vec<String> =
            (0..100_000).map(|n| format!("{}{n}", &"abcdefghijkl"[n % 12..])).chain(["".into(), "\0".into(), "a word that is long".into()]).collect();
        for _ in 0..2 {
            for word in &words {
                assert_eq!(seen.count(word, || word.len()), word.len(), "{word:?}");
            }
        }
        assert_eq!((seen.count("word", || 4), seen.count("word", || 99)), (4, 4), "it is remembered");
    }
}
