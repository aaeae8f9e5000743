//! Conversations that one model goes on with together, token by token: who comes later joins those that are under way.

use crate::model::error::ModelError;
use crate::model::network::adapter::Fitted;
use crate::model::network::decoder::Decoder;
use crate::model::network::rotary::Rotary;
use crate::model::network::weights::Weights;

use super::generate::Answer;
use super::sampling::{Chooser, Sampling, best};
use super::thin::Thin;

/// One more token of a conversation, or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Spoken {
    /// The number that the conversation was begun with.
    pub number: u64,
    /// The token; nothing where the model has said all.
    pub token: Option<u32>,
    /// The natural logarithm of how likely the model found it.
    pub likelihood: f64,
    /// The likeliest tokens there, as many as were asked for, with the same.
    pub others: Vec<(u32, f64)>,
    /// Whether this was the last of it.
    pub end: Option<End>,
}

/// Why a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model has said all.
    Said,
    /// It was to say no more, or can hold no more.
    Limit,
}

/// What an answer to a prompt is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens.
    pub max_tokens: usize,
    /// How many of the likeliest tokens are told beside each.
    pub others: usize,
}

/// The conversations of one model.
#[derive(Debug)]
pub struct Session<'a> {
    weights: &'a Weights,
    adapter: Option<&'a Fitted<'a>>,
    rotary: Rotary,
    ends: &'a [u32],
    open: Vec<Open>,
    thin: Thin,
}

#[derive(Debug)]
struct Open {
    number: u64,
    answer: Answer,
    /// What the model makes of the next token.
    logits: Vec<f32>,
    chooser: Chooser,
    max_tokens: usize,
    others: usize,
}

impl<'a> Session<'a> {
    /// No conversation yet. `ends` are the tokens that end what a model says.
    #[must_use]
    pub fn new(weights: &'a Weights, adapter: Option<&'a Fitted<'a>>, ends: &'a [u32]) -> Self {
        Self { weights, adapter, rotary: Rotary::new(&weights.architecture, 0), ends, open: Vec::new(), thin: Thin::default() }
    }

    /// How many conversations go on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none goes on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Begins to answer a prompt, under a number by which it is known.
    ///
    /// # Errors
    /// When the prompt leaves no room in the model's context.
    pub fn begin(&mut self, number: u64, wish: Wish) -> Result<(), ModelError> {
        let limit = self.weights.architecture.context;
        if wish.prompt.len() >= limit || wish.prompt.is_empty() {
            return Err(ModelError::NoRoom { index: 1, tokens: wish.prompt.len(), limit });
        }
        self.rotary.reach(wish.prompt.len().saturating_add(wish.max_tokens));
        let decoder = Decoder::new(self.weights, self.adapter, &self.rotary);
        let (answers, logits) = decoder.read(std::iter::once(wish.prompt.as_slice()));
        let chooser = Chooser::new(wish.sampling);
        let open = |answer| Open { number, answer, logits, chooser, max_tokens: wish.max_tokens.max(1), others: wish.others };
        self.open.extend(answers.into_iter().next().map(open));
        Ok(())
    }

    /// Goes on with no conversation of this number.
    pub fn forget(&mut self, number: u64) {
        self.open.retain(|open| open.number != number);
    }

    /// One token more of each conversation. Those that end are forgotten.
    pub fn step(&mut self) -> Vec<Spoken> {
        let (ends, context) = (self.ends, self.weights.architecture.context);
        let spoken: Vec<Spoken> = self.open.iter_mut().map(|open| open.say(ends, context)).collect();
        let mut ended = spoken.iter().map(|spoken| spoken.end.is_some());
        self.open.retain(|_| !ended.next().unwrap_or_default());
        if !self.open.is_empty() {
            let decoder = Decoder::new(self.weights, self.adapter, &self.rotary);
            let logits = decoder.next(self.open.iter_mut().map(|open| &mut open.answer).collect(), &mut self.thin);
            for (open, row) in self.open.iter_mut().zip(logits.chunks_exact(self.weights.architecture.vocabulary)) {
                open.logits.clear();
                open.logits.extend_from_slice(row);
            }
        }
        spoken
    }
}

impl Open {
    fn say(&mut self, ends: &[u32], context: usize) -> Spoken {
        let token = self.chooser.choose(&self.logits);
        let all = logarithm_of_sum(&self.logits);
        let likelihood = |token: u32| self.logits.get(token as usize).map_or(f64::NEG_INFINITY, |&logit| f64::from(logit) - all);
        let others = best(&self.logits, self.others).into_iter().map(|token| (token, likelihood(token))).collect();
        let likelihood = likelihood(token);
        if ends.contains(&token) {
            return Spoken { number: self.number, token: None, likelihood, others, end: Some(End::Said) };
        }
        self.answer.tokens.push(token);
        let is_last = self.answer.tokens.len() >= self.max_tokens || self.answer.position >= context;
        Spoken { number: self.number, token: Some(token), likelihood, others, end: is_last.then_some(End::Limit) }
    }
}

fn logarithm_of_sum(logits: &[f32]) -> f64 {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    highest + logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::generate::{Prompt, generate};
    use super::*;
    use crate::data::{Message, Role, Tokenizer};
    use crate::model::builtin::TINY;
    use crate::model::source::base;
    use crate::provider::Silent;

    fn prompt(text: &str) -> Vec<u32> {
        Tokenizer::tiny().prompt(&[Message::new(Role::User, text.into())])
    }

    /// What is said in each conversation, begun one step after the other.
    fn said(wishes: &[(&str, Sampling)]) -> Vec<Vec<u32>> {
        let base = base(TINY, Path::new("")).expect("it is built in");
        let ends = base.chat.ends();
        let mut session = Session::new(&base.weights, None, &ends);
        let mut said = vec![Vec::new(); wishes.len()];
        let mut waiting = wishes.iter().enumerate();
        loop {
            if let Some((number, &(text, sampling))) = waiting.next() {
                session.begin(number as u64, Wish { prompt: prompt(text), sampling, max_tokens: 24, others: 3 }).expect("there is room");
            } else if session.is_empty() {
                return said;
            }
            for spoken in session.step() {
                assert!(spoken.likelihood <= 0.0 && spoken.others.len() == 3 && spoken.others[0].1 >= spoken.others[2].1);
                said[usize::try_from(spoken.number).expect("a small number")].extend(spoken.token);
            }
        }
    }

    #[test]
    fn who_joins_later_is_answered_as_alone() {
        let base = base(TINY, Path::new("")).expect("it is built in");
        let plain = Sampling::at(0.0);
        let texts = ["my card was stolen", "hello", "where is my money"];
        let together = said(&texts.map(|text| (text, plain)));
        let alone = texts.map(|text| Prompt { tokens: prompt(text), sampling: plain });
        let alone = generate(&base.weights, None, &alone, 24, &base.chat.ends(), &Silent).expect("there is room");
        assert_eq!(together, alone.into_iter().map(|said| said.tokens).collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_gives_the_same_answer_whoever_else_is_answered() {
        let free = |seed| Sampling { seed, ..Sampling::at(1.5) };
        let one = said(&[("tell me more", free(7))]);
        let among = said(&[("hello", free(1)), ("tell me more", free(7)), ("tell me more", free(8))]);
        assert_eq!(one[0], among[1]);
        assert_ne!(among[1], among[2]);
        let narrow = said(&[("tell me more", Sampling { top_p: 0.0, ..free(7) }), ("tell me more", Sampling { temperature: 0.0, ..free(7) })]);
        assert_eq!(narrow[0], narrow[1], "of a nucleus of one it is the likeliest");
    }
}
