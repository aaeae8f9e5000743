//! Conversations that one model goes on with together, token by token: who comes later joins those that are under way.

use std::cell::OnceCell;

use crate::data::ChatTokenizer;
use crate::model::error::ModelError;
use crate::model::network::adapter::Fitted;
use crate::model::network::decoder::Decoder;
use crate::model::network::parameters::Parameters;
use crate::model::network::rotary::Rotary;

use super::generate::Answer;
use super::json::JsonSoFar;
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
    /// Whether it is to be a JSON object: of the tokens, only those are chosen with which it still can become one.
    pub json: bool,
}

/// The conversations of one model.
#[derive(Debug)]
pub struct Session<'a> {
    parameters: Parameters<'a>,
    adapter: Option<&'a Fitted<'a>>,
    rotary: Rotary,
    vocabulary: Vocabulary<'a>,
    open: Vec<Open>,
    thin: Thin,
}

/// The tokens of a model as bytes.
#[derive(Debug)]
struct Vocabulary<'a> {
    chat: &'a ChatTokenizer,
    /// Those that end what it says.
    ends: Vec<u32>,
    /// All of them, from when they are first needed.
    pieces: OnceCell<Vec<Vec<u8>>>,
}

impl Vocabulary<'_> {
    /// The bytes of all tokens, by their numbers; none of special ones.
    fn pieces(&self, count: usize) -> &[Vec<u8>] {
        self.pieces.get_or_init(|| (0..u32::try_from(count).unwrap_or(u32::MAX)).map(|token| self.chat.bytes(token).into_owned()).collect())
    }
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
    json: Option<JsonSoFar>,
}

impl<'a> Session<'a> {
    /// No conversation yet, in the tokens of `chat`.
    #[must_use]
    pub fn new(parameters: Parameters<'a>, adapter: Option<&'a Fitted<'a>>, chat: &'a ChatTokenizer) -> Self {
        let vocabulary = Vocabulary { chat, ends: chat.ends(), pieces: OnceCell::new() };
        Self { parameters, adapter, rotary: Rotary::new(parameters.architecture, 0), vocabulary, open: Vec::new(), thin: Thin::default() }
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
        let limit = self.parameters.architecture.context;
        if wish.prompt.len() >= limit || wish.prompt.is_empty() {
            return Err(ModelError::NoRoom { index: 1, tokens: wish.prompt.len(), limit });
        }
        self.rotary.reach(wish.prompt.len().saturating_add(wish.max_tokens));
        let decoder = Decoder::new(self.parameters, self.adapter, &self.rotary);
        let (answers, logits) = decoder.read(std::iter::once(wish.prompt.as_slice()));
        let chooser = Chooser::new(wish.sampling);
        let json = wish.json.then(JsonSoFar::new);
        let open = |answer| Open { number, answer, logits, chooser, max_tokens: wish.max_tokens.max(1), others: wish.others, json };
        self.open.extend(answers.into_iter().next().map(open));
        Ok(())
    }

    /// Goes on with no conversation of this number.
    pub fn forget(&mut self, number: u64) {
        self.open.retain(|open| open.number != number);
    }

    /// One token more of each conversation. Those that end are forgotten.
    pub fn step(&mut self) -> Vec<Spoken> {
        let (vocabulary, context) = (&self.vocabulary, self.parameters.architecture.context);
        let spoken: Vec<Spoken> = self.open.iter_mut().map(|open| open.say(vocabulary, context)).collect();
        let mut ended = spoken.iter().map(|spoken| spoken.end.is_some());
        self.open.retain(|_| !ended.next().unwrap_or_default());
        if !self.open.is_empty() {
            let decoder = Decoder::new(self.parameters, self.adapter, &self.rotary);
            let logits = decoder.next(self.open.iter_mut().map(|open| &mut open.answer).collect(), &mut self.thin);
            for (open, row) in self.open.iter_mut().zip(logits.chunks_exact(self.parameters.architecture.vocabulary)) {
                open.logits.clear();
                open.logits.extend_from_slice(row);
            }
        }
        spoken
    }
}

impl Open {
    fn say(&mut self, vocabulary: &Vocabulary<'_>, context: usize) -> Spoken {
        let token = self.choose(vocabulary);
        let all = logarithm_of_sum(&self.logits);
        let likelihood = |token: u32| self.logits.get(token as usize).map_or(f64::NEG_INFINITY, |&logit| f64::from(logit) - all);
        let others = best(&self.logits, self.others).into_iter().map(|token| (token, likelihood(token))).collect();
        let likelihood = likelihood(token);
        if vocabulary.ends.contains(&token) {
            return Spoken { number: self.number, token: None, likelihood, others, end: Some(End::Said) };
        }
        self.answer.tokens.push(token);
        let is_last = self.answer.tokens.len() >= self.max_tokens || self.answer.position >= context;
        let is_whole = self.json.is_some_and(|json| json.is_whole());
        let end = if is_whole { Some(End::Said) } else { is_last.then_some(End::Limit) };
        Spoken { number: self.number, token: Some(token), likelihood, others, end }
    }

    /// The next token. Where JSON is wanted and the one that is chosen does not fit, it is chosen once more among those that do.
    fn choose(&mut self, vocabulary: &Vocabulary<'_>) -> u32 {
        let token = self.chooser.choose(&self.logits);
        let Some(json) = self.json else { return token };
        let pieces = vocabulary.pieces(self.logits.len());
        // What has no text ends nothing and adds nothing.
        let with = |token: usize| pieces.get(token).filter(|piece| !piece.is_empty()).and_then(|piece| json.after(piece));
        let (token, json) = match with(token as usize) {
            Some(json) => (token, json),
            None => {
                let fitting = |(token, &logit): (usize, &f32)| if with(token).is_some() { logit } else { f32::NEG_INFINITY };
                let fitting: Vec<f32> = self.logits.iter().enumerate().map(fitting).collect();
                let token = self.chooser.choose(&fitting);
                // A vocabulary in which nothing fits cannot write JSON: it goes on, and what comes of it is seen by who reads it.
                (token, with(token as usize).unwrap_or(json))
            }
        };
        self.json = Some(json);
        token
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
        let mut session = Session::new(base.parameters().expect("it is built in"), None, &base.chat);
        let mut said = vec![Vec::new(); wishes.len()];
        let mut waiting = wishes.iter().enumerate();
        loop {
            if let Some((number, &(text, sampling))) = waiting.next() {
                session.begin(number as u64, Wish { prompt: prompt(text), sampling, max_tokens: 24, others: 3, json: false }).expect("there is room");
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
        let alone = generate(base.parameters().expect("it is built in"), None, &alone, 24, &base.chat.ends(), &Silent).expect("there is room");
        assert_eq!(together, alone.into_iter().map(|said| said.tokens).collect::<Vec<_>>());
    }

    #[test]
    fn an_answer_that_is_to_be_json_is_an_object_whatever_the_model_would_say() {
        let base = base(TINY, Path::new("")).expect("it is built in");
        let mut session = Session::new(base.parameters().expect("it is built in"), None, &base.chat);
        let mut whole = 0;
        for seed in 0..20_u64 {
            let sampling = Sampling { seed, ..Sampling::at(if seed == 0 { 0.0 } else { 1.0 }) };
            session.begin(seed, Wish { prompt: prompt("my card was stolen"), sampling, max_tokens: 200, others: 0, json: true }).expect("there is room");
            let (mut tokens, mut end) = (Vec::new(), None);
            while end.is_none() {
                let spoken = session.step().remove(0);
                tokens.extend(spoken.token);
                end = spoken.end;
            }
            let text = base.chat.decode(&tokens);
            let is_object = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| value.is_object());
            assert_eq!(is_object, end == Some(End::Said), "{text}");
            assert!(JsonSoFar::new().after(text.as_bytes()).is_some(), "what was cut short began well: {text}");
            whole += u32::from(is_object);
        }
        assert!(whole > 0, "some are whole before the limit");
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
