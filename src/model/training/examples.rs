//! Examples as tokens.

use crate::data::{ChatTokenizer, Example, Message, Preference, TemplateError};
use crate::model::error::ModelError;
use crate::model::network::packed::Sample;
use crate::provider::{Longest, Overflow, Taught};

use super::lessons::Lessons;

/// Rows as lessons, with the line of each in its file, from 0.
#[derive(Debug)]
pub struct Encoded {
    /// The lessons.
    pub lessons: Lessons,
    /// The row that each came from.
    pub rows: Vec<usize>,
    /// How many were left out, and how many were cut.
    pub dropped: usize,
    /// How many were cut.
    pub cut: usize,
}

/// What became of one conversation.
enum Fit {
    Whole(Sample),
    Cut(Sample),
    Dropped,
}

fn fit(chat: &ChatTokenizer, index: usize, messages: &[Message], taught: Taught, longest: Longest) -> Result<Fit, ModelError> {
    let refused = |source: TemplateError| ModelError::Template { index: index + 1, source };
    if taught == Taught::Everything && messages.iter().any(|message| !message.learned) {
        return Err(ModelError::Weighed { index: index + 1 });
    }
    let encoded = match taught {
        Taught::Answers => chat.conversation(messages),
        Taught::Everything => chat.everything(messages),
    };
    let encoded = encoded.map_err(refused)?;
    let mut sample = Sample { tokens: encoded.tokens, learned: encoded.learned };
    let is_long = sample.tokens.len() > longest.tokens;
    match longest.overflow {
        Overflow::Error if is_long => return Err(ModelError::TooLong { index: index + 1, tokens: sample.tokens.len(), limit: longest.tokens }),
        Overflow::Drop if is_long => return Ok(Fit::Dropped),
        _ => {
            sample.tokens.truncate(longest.tokens);
            sample.learned.truncate(longest.tokens);
        }
    }
    if sample.targets() == 0 {
        let why = if is_long { "has nothing left of what the model is to say once it is cut" } else { "has nothing that the model is to say" };
        return Err(ModelError::NothingToLearn { problem: format!("example {} {why}", index + 1) });
    }
    Ok(if is_long { Fit::Cut(sample) } else { Fit::Whole(sample) })
}

/// Examples of what to say as lessons.
///
/// # Errors
/// When one is too long, has nothing to learn in it, or the template refuses it.
pub fn lessons(chat: &ChatTokenizer, examples: &[Example], taught: Taught, longest: Longest) -> Result<Encoded, ModelError> {
    use rayon::prelude::*;
    let fits: Vec<Fit> =
        examples.par_iter().enumerate().map(|(index, example)| fit(chat, index, &example.messages, taught, longest)).collect::<Result<_, _>>()?;
    let (mut samples, mut rows, mut dropped, mut cut) = (Vec::new(), Vec::new(), 0, 0);
    for (row, fit) in fits.into_iter().enumerate() {
        cut += usize::from(matches!(fit, Fit::Cut(_)));
        match fit {
            Fit::Whole(sample) | Fit::Cut(sample) => {
                samples.push(sample);
                rows.push(row);
            }
            Fit::Dropped => dropped += 1,
        }
    }
    all_gone(examples.len(), samples.len(), longest)?;
    Ok(Encoded { lessons: Lessons::Say(samples), rows, dropped, cut })
}

/// Pairs as lessons.
///
/// # Errors
/// As [`lessons`].
pub fn preferences(chat: &ChatTokenizer, pairs: &[Preference], beta: f64, longest: Longest) -> Result<Encoded, ModelError> {
    use rayon::prelude::*;
    let both = |(index, pair): (usize, &Preference)| -> Result<[Fit; 2], ModelError> {
        Ok([fit(chat, index, &pair.with(&pair.better), Taught::Answers, longest)?, fit(chat, index, &pair.with(&pair.worse), Taught::Answers, longest)?])
    };
    let fits: Vec<[Fit; 2]> = pairs.par_iter().enumerate().map(both).collect::<Result<_, _>>()?;
    let (mut kept, mut rows, mut dropped, mut cut) = (Vec::new(), Vec::new(), 0, 0);
    for (row, [better, worse]) in fits.into_iter().enumerate() {
        cut += usize::from(matches!(better, Fit::Cut(_)) || matches!(worse, Fit::Cut(_)));
        match (better, worse) {
            (Fit::Whole(better) | Fit::Cut(better), Fit::Whole(worse) | Fit::Cut(worse)) => {
                kept.push([better, worse]);
                rows.push(row);
            }
            _ => dropped += 1,
        }
    }
    all_gone(pairs.len(), kept.len(), longest)?;
    Ok(Encoded { lessons: Lessons::Prefer { pairs: kept, beta }, rows, dropped, cut })
}

fn all_gone(there: usize, left: usize, longest: Longest) -> Result<(), ModelError> {
    if there == 0 || left > 0 {
        return Ok(());
    }
    Err(ModelError::NothingToLearn { problem: format!("all {there} examples have more than {} tokens", longest.tokens) })
}
