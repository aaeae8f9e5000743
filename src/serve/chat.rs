//! A request for a chat completion as a local model understands it, and its answers as OpenAI's API writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::data::{ChatTokenizer, Message, Role};
use crate::model::{End, Sampling, Spoken, Wish};

use super::refusal::Refusal;

/// A byte of text is at most so many of JSON (`\u0000`), and so many bytes more are enough for all that is no text.
const ESCAPED: usize = 6;
const OVERHEAD: usize = 64 << 10;
/// The most answers to one request, and the most texts at which an answer stops.
pub const ANSWERS: usize = 16;
const STOPS: usize = 4;
/// The most of the likeliest tokens that are told beside each.
const OTHERS: usize = 20;

/// What is asked.
#[derive(Debug)]
pub struct Asked {
    pub wish: Wish,
    /// How many answers.
    pub answers: usize,
    pub stops: Vec<String>,
    /// Whether it comes as it is said.
    pub stream: bool,
    /// Whether a stream ends with what was used.
    pub usage: bool,
    /// Whether it is told how likely each token was.
    pub likelihoods: bool,
}

/// A request as it comes. What a local model has no use for is read where it would change the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    messages: Vec<Value>,
    n: Option<usize>,
    stop: Value,
    stream: Option<bool>,
    stream_options: Value,
    seed: Option<i64>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    /// No field of OpenAI's, but of others that serve open weights.
    top_k: Option<usize>,
    logprobs: Option<bool>,
    top_logprobs: Option<usize>,
    tools: Value,
    functions: Value,
    response_format: Value,
    logit_bias: Value,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    modalities: Value,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// When it is not as it must be, or asks for what a local model cannot do.
    pub fn of(body: &[u8], chat: &ChatTokenizer, context: usize) -> Result<Self, Refusal> {
        // No prompt of so many bytes fits, however it is written. What is larger is not even taken apart.
        let fits = context * chat.longest();
        if body.len() > fits * ESCAPED + OVERHEAD {
            return Err(Refusal::TooLong { most: context });
        }
        let written: Written = serde_json::from_slice(body).map_err(|error| Refusal::Wrong { problem: error.to_string(), field: None })?;
        written.is_possible()?;
        let messages = written.messages.iter().map(message).collect::<Result<Vec<Message>, Refusal>>()?;
        if messages.is_empty() {
            return Err(Refusal::wrong("messages", "`messages` needs at least one message"));
        }
        if messages.iter().map(|message| message.content.len()).sum::<usize>() > fits {
            return Err(Refusal::TooLong { most: context });
        }
        let within = |field: &'static str, value: Option<f64>, most: f64, usual: f64| match value {
            Some(value) if !(0.0..=most).contains(&value) => Err(Refusal::wrong(field, format!("`{field}` is from 0 to {most}, and not {value}"))),
            value => Ok(value.unwrap_or(usual)),
        };
        let temperature = within("temperature", written.temperature, 2.0, 1.0)?;
        let top_p = within("top_p", written.top_p, 1.0, 1.0)?;
        let answers = written.n.unwrap_or(1);
        if !(1..=ANSWERS).contains(&answers) {
            return Err(Refusal::wrong("n", format!("`n` is from 1 to {ANSWERS}, and not {answers}")));
        }
        let others = written.top_logprobs.unwrap_or(0);
        let likelihoods = written.logprobs.unwrap_or_default();
        if others > OTHERS || (others > 0 && !likelihoods) {
            return Err(Refusal::wrong("top_logprobs", format!("`top_logprobs` is at most {OTHERS}, and wants `logprobs`")));
        }
        let max_tokens = written.max_completion_tokens.or(written.max_tokens).unwrap_or(usize::MAX);
        if max_tokens == 0 {
            return Err(Refusal::wrong("max_completion_tokens", "an answer has at least 1 token"));
        }
        let stops = stops(&written.stop)?;
        let seed = written.seed.map_or_else(any_seed, i64::cast_unsigned);
        let prompt = chat.prompt(&messages).map_err(|error| Refusal::wrong("messages", error.to_string()))?;
        let sampling = Sampling { temperature, top_p, top_k: written.top_k.unwrap_or(0), seed };
        let wish = Wish { prompt, sampling, max_tokens, others, json: written.response_format == json!({ "type": "json_object" }) };
        let usage = written.stream_options["include_usage"].as_bool().unwrap_or_default();
        Ok(Self { wish, answers, stops, stream: written.stream.unwrap_or_default(), usage, likelihoods })
    }

    /// The wish for one of the answers: each is chosen with a seed of its own.
    pub fn wish(&self, answer: usize) -> Wish {
        let mut wish = self.wish.clone();
        // No other seed's answers come into sight by adding one.
        wish.sampling.seed ^= (answer as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        wish
    }
}

impl Written {
    fn is_possible(&self) -> Result<(), Refusal> {
        let is_some =
            |value: &Value| !(value.is_null() || value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty));
        let formats = [json!({ "type": "text" }), json!({ "type": "json_object" })];
        let wanted = [
            ("tools", is_some(&self.tools)),
            ("functions", is_some(&self.functions)),
            ("response_format", is_some(&self.response_format) && !formats.contains(&self.response_format)),
            ("logit_bias", is_some(&self.logit_bias)),
            ("presence_penalty", self.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
            ("frequency_penalty", self.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
            ("modalities", is_some(&self.modalities) && self.modalities != json!(["text"])),
        ];
        match wanted.into_iter().find(|(_, wanted)| *wanted) {
            Some((field, _)) => {
                Err(Refusal::wrong(field, format!("a local model does not know `{field}`; without it the answer would be another one than was asked for")))
            }
            None => Ok(()),
        }
    }
}

fn message(written: &Value) -> Result<Message, Refusal> {
    let content = &written["content"];
    if !(content.is_string() || content.is_array() || content.is_null()) {
        return Err(Refusal::wrong("messages", "the `content` of a message is a text, or a list of parts"));
    }
    if !written["tool_calls"].is_null() {
        return Err(Refusal::wrong("messages", "a local model does not know `tool_calls`"));
    }
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    if let Some(other) = parts.iter().find(|part| part["text"].as_str().is_none()) {
        return Err(Refusal::wrong("messages", format!("a local model reads text alone, and not a part of type {}", other["type"])));
    }
    let message: Message =
        serde_json::from_value(written.clone()).map_err(|error| Refusal::wrong("messages", format!("a message is not as it must be: {error}")))?;
    if message.content.is_empty() && message.role != Role::Assistant {
        return Err(Refusal::wrong("messages", format!("a message of the {} has no text", message.role.name())));
    }
    Ok(message)
}

fn stops(written: &Value) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::wrong("stop", format!("`stop` is a text, or up to {STOPS}, none of them empty"));
    let stops: Vec<String> = match written {
        Value::Null => Vec::new(),
        Value::String(stop) => vec![stop.clone()],
        Value::Array(all) => all.iter().map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong)).collect::<Result<_, _>>()?,
        _ => return Err(wrong()),
    };
    if stops.len() > STOPS || stops.iter().any(String::is_empty) { Err(wrong()) } else { Ok(stops) }
}

/// A seed for who wants another answer each time.
fn any_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// The seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// One answer, as it grows.
#[derive(Debug, Default)]
pub struct Choice {
    pub text: String,
    pub tokens: Vec<Value>,
    pub used: usize,
    pub reason: Option<&'static str>,
}

/// Why an answer ended, in the words of the protocol.
pub const fn reason(end: End) -> &'static str {
    match end {
        End::Said => "stop",
        End::Limit => "length",
    }
}

/// How likely a token was, and those beside it.
pub fn likelihood(spoken: &Spoken, chat: &ChatTokenizer) -> Option<Value> {
    let told = |token: u32, likelihood: f64| {
        let text = String::from_utf8_lossy(&chat.bytes(token)).into_owned();
        json!({ "token": text, "logprob": likelihood, "bytes": chat.bytes(token) })
    };
    let mut value = told(spoken.token?, spoken.likelihood);
    value["top_logprobs"] = spoken.others.iter().map(|&(token, likelihood)| told(token, likelihood)).collect();
    Some(value)
}

/// What all parts of the answer to one request have in common.
#[derive(Clone, Debug)]
pub struct Head {
    pub id: String,
    pub created: u64,
    pub model: String,
}

impl Head {
    /// The whole answer.
    pub fn whole(&self, choices: &[Choice], prompt: usize) -> Value {
        let said: Vec<Value> = choices
            .iter()
            .enumerate()
            .map(|(index, choice)| {
                let logprobs = if choice.tokens.is_empty() { Value::Null } else { json!({ "content": choice.tokens, "refusal": null }) };
                json!({
                    "index": index,
                    "message": { "role": "assistant", "content": choice.text, "refusal": null },
                    "logprobs": logprobs,
                    "finish_reason": choice.reason,
                })
            })
            .collect();
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": said, "usage": usage(prompt, choices.iter().map(|choice| choice.used).sum()),
        })
    }

    /// A part of a streamed answer.
    pub fn part(&self, index: usize, delta: &Value, tokens: &[Value], reason: Option<&'static str>) -> Value {
        let logprobs = if tokens.is_empty() { Value::Null } else { json!({ "content": tokens, "refusal": null }) };
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": [{ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason }],
        })
    }

    /// The last part of a stream, with what was used.
    pub fn used(&self, prompt: usize, answer: usize) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": [], "usage": usage(prompt, answer),
        })
    }
}

fn usage(prompt: usize, answer: usize) -> Value {
    json!({ "prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer })
}
