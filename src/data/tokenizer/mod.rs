//! Byte-level BPE, small and complete: any text becomes tokens and comes back unchanged.

mod chat;
mod counter;
mod exported;
mod learn;
mod seen;
mod template;
mod words;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use chat::{ChatTokenizer, Encoded, Spelling, Templated};
pub use counter::Counter;
pub use exported::{TEMPLATE as CHAT_TEMPLATE, WORDS as TINY_WORDS};
pub use learn::learn_merges;
pub use template::{ChatTemplate, Rendered, TemplateError};

use super::{Message, Role};
use seen::Seen;

/// A word of more bytes is merged in a way that costs more for short ones, and far less for long ones.
const LONG: usize = 64;

/// A pair of tokens that together are another.
pub type Pair = (u32, u32);

/// Tokens that are no text: they open and close the messages of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Opens a system message.
    System,
    /// Opens a user's message.
    User,
    /// Opens the model's message.
    Assistant,
    /// Closes any message.
    End,
}

impl Special {
    /// How many there are.
    pub const COUNT: u32 = 4;

    const fn opening(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            // A tool speaks to the model as a user does.
            Role::User | Role::Tool => Self::User,
            Role::Assistant => Self::Assistant,
        }
    }
}

/// Turns text to tokens and back: 256 bytes, then one token a merge, then the special ones.
#[derive(Debug)]
pub struct Tokenizer {
    /// Tells it from every other one of this process.
    number: usize,
    ranks: HashMap<Pair, u32>,
    pieces: Vec<Vec<u8>>,
}

/// The merges of `builtin:tiny`, in order, one pair of token numbers a line.
pub const TINY_MERGES: &str = include_str!("tiny.merges");

static TINY: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::new(&parse_merges(TINY_MERGES)));

fn parse_merges(text: &str) -> Vec<Pair> {
    text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?))).collect()
}

impl Tokenizer {
    /// The tokenizer of `builtin:tiny`.
    #[must_use]
    pub fn tiny() -> &'static Self {
        &TINY
    }

    /// A tokenizer with these merges, the first the strongest.
    #[must_use]
    pub fn new(merges: &[Pair]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let mut pieces: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let mut ranks = HashMap::with_capacity(merges.len());
        for (rank, &(left, right)) in (0..).zip(merges) {
            let (Some(a), Some(b)) = (pieces.get(left as usize), pieces.get(right as usize)) else {
                break;
            };
            pieces.push([a.as_slice(), b.as_slice()].concat());
            ranks.insert((left, right), rank);
        }
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), ranks, pieces }
    }

    /// How many different tokens there are.
    #[must_use]
    pub const fn vocabulary(&self) -> usize {
        self.pieces.len() + Special::COUNT as usize
    }

    /// The token of a special one.
    #[must_use]
    pub fn special(&self, special: Special) -> u32 {
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX) + special as u32
    }

    /// Appends the tokens of a text.
    pub fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let mut parts = Vec::new();
        for word in words::split(text) {
            parts.clear();
            parts.extend(word.bytes().map(u32::from));
            if parts.len() > LONG {
                self.merge_long(&mut parts);
            }
            while let Some((at, rank)) = self.strongest(&parts) {
                parts[at] = 256 + rank;
                parts.remove(at + 1);
            }
            out.extend(&parts);
        }
    }

    /// Does all merges of a long word, the strongest first and of equals the leftmost, in a time that grows little faster than the
    /// word: parts are a chain, and pairs that may be merged stand in a heap until one of their parts is gone.
    fn merge_long(&self, parts: &mut Vec<u32>) {
        let end = parts.len();
        let (mut before, mut after): (Vec<usize>, Vec<usize>) = ((0..end).map(|at| at.wrapping_sub(1)).collect(), (1..=end).collect());
        let mut gone = vec![false; end];
        let mut heap = BinaryHeap::new();
        let rank = |parts: &[u32], after: &[usize], at: usize| parts.get(after[at]).and_then(|&right| self.ranks.get(&(parts[at], right)).copied());
        heap.extend((0..end).filter_map(|at| rank(parts, &after, at).map(|rank| Reverse((rank, at)))));
        while let Some(Reverse((strength, at))) = heap.pop() {
            if gone[at] || rank(parts, &after, at) != Some(strength) {
                continue;
            }
            let right = after[at];
            parts[at] = 256 + strength;
            gone[right] = true;
            after[at] = after[right];
            if let Some(next) = before.get_mut(after[right]) {
                *next = at;
            }
            heap.extend([before[at], at].into_iter().filter(|&at| at < end).filter_map(|at| rank(parts, &after, at).map(|rank| Reverse((rank, at)))));
        }
        let mut gone = gone.into_iter();
        parts.retain(|_| !gone.next().unwrap_or_default());
    }

    /// The bytes of the longest token.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.pieces.iter().map(Vec::len).max().unwrap_or(1)
    }

    fn strongest(&self, parts: &[u32]) -> Option<(usize, u32)> {
        let pairs = parts.windows(2).enumerate();
        let ranked = pairs.filter_map(|(at, pair)| self.ranks.get(&(pair[0], pair[1])).map(|&rank| (at, rank)));
        ranked.min_by_key(|&(_, rank)| rank)
    }

    /// The text of tokens. Special ones are left out, broken UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().filter_map(|&token| self.pieces.get(token as usize)).flatten().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes of a token; none of a special one.
    #[must_use]
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// A conversation as tokens, and for each token whether the model should learn to say it: that is
    /// what an assistant says and the token that ends it.
    #[must_use]
    pub fn conversation(&self, messages: &[Message]) -> (Vec<u32>, Vec<bool>) {
        let (mut tokens, mut learned) = (Vec::new(), Vec::new());
        for message in messages {
            tokens.push(self.special(Special::opening(message.role)));
            learned.push(false);
            self.encode(&message.content, &mut tokens);
            tokens.push(self.special(Special::End));
            learned.resize(tokens.len(), message.role == Role::Assistant && message.learned);
        }
        (tokens, learned)
    }

    /// A prompt as tokens, with the assistant's message opened.
    #[must_use]
    pub fn prompt(&self, messages: &[Message]) -> Vec<u32> {
        let (mut tokens, _) = self.conversation(messages);
        tokens.push(self.special(Special::Assistant));
        tokens
    }

    /// How many tokens a conversation has.
    #[must_use]
    pub fn count(&self, messages: &[Message]) -> usize {
        messages.iter().map(|message| 2 + words::split(&message.content).map(|word| self.count_word(word)).sum::<usize>()).sum()
    }

    /// How many tokens a word has. Words come again and again, so that each thread remembers those it saw.
    fn count_word(&self, word: &str) -> usize {
        thread_local!(static SEEN: RefCell<(usize, Seen)> = RefCell::default());
        let counted = || {
            let mut tokens = Vec::new();
            self.encode(word, &mut tokens);
            tokens.len()
        };
        SEEN.with_borrow_mut(|(of, seen)| {
            if std::mem::replace(of, self.number) != self.number {
                *seen = Seen::default();
            }
            seen.count(word, counted)
        })
    }
}

/// Merges as text, in the form of [`TINY_MERGES`].
#[must_use]
pub fn merges_to_text(merges: &[Pair]) -> String {
    merges.iter().fold(String::new(), |mut out, (left, right)| {
        let _ = writeln!(out, "{left} {right}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_merged_as_a_short_one() {
        let tokenizer = Tokenizer::tiny();
        let mut state = 7_u64;
        for length in [2, 3, 65, 500, 3000] {
            let letters = (0..length).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                u32::from(b"etaoinshr"[usize::try_from(state >> 33).unwrap_or(0) % 9])
            });
            let mut slow: Vec<u32> = letters.collect();
            let mut fast = slow.clone();
            tokenizer.merge_long(&mut fast);
            while let Some((at, rank)) = tokenizer.strongest(&slow) {
                slow[at] = 256 + rank;
                slow.remove(at + 1);
            }
            assert_eq!(fast, slow);
        }
    }
}
