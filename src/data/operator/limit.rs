use rayon::prelude::*;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot};

use super::super::flow::{Flow, Item, Stream, Verdict};
use super::super::{Counter, DataError, Example, Role};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("limit", "Bounds the length of an example.").operator(2).properties(&[
    Slot::new("tokens", Kind::Integer(1, 1 << 24), "The most tokens that an example may have."),
    Slot::new("of", Kind::Text, "The model whose tokenizer counts: `builtin:tiny`, or a model of OpenAI such as `gpt-4.1`.").or(Fallback::Text("builtin:tiny")),
    Slot::new("tokenizer", Kind::Input, "A `tokenizer.json` of the workspace that counts instead: that of the model that is tuned.").or(Fallback::Absent),
    Slot::new(
        "overflow",
        Kind::Choice(&["drop", "truncate", "fail"]),
        "What happens to a longer one: it is rejected, what is asked is cut at its end, or the stage fails.",
    )
    .or(Fallback::Text("drop")),
]);

pub const KIND: OperatorKind =
    OperatorKind { needs_examples: true, beside: Some("tokenizer"), ..OperatorKind::new(&SETTING, |block| Ok(Box::new(Limit::of(block)?))) };

#[derive(Debug)]
struct Limit {
    tokens: usize,
    counter: Counter,
    /// The file that counts instead.
    file: Option<String>,
    overflow: Overflow,
}

#[derive(Clone, Copy, Debug)]
enum Overflow {
    Drop,
    Truncate,
    Fail,
}

impl Limit {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let model = block.text("of");
        let counter = Counter::exact(model).ok_or_else(|| ConfigError::UnknownChoice {
            name: "of".into(),
            found: format!("{model:?}"),
            at: block.span_of("of").into(),
            help: "tokens are counted exactly for `builtin:tiny` and for the models of OpenAI (`gpt-4.1`, `o200k_base`, ...)".into(),
        })?;
        let overflow = match block.text("overflow") {
            "truncate" => Overflow::Truncate,
            "fail" => Overflow::Fail,
            _ => Overflow::Drop,
        };
        Ok(Self { tokens: block.count("tokens"), counter, file: block.find_text("tokenizer").map(str::to_owned), overflow })
    }

    /// What counts: the file, where there is one.
    fn counting(&self, flow: &Flow) -> Result<Counter, DataError> {
        let Some(file) = &self.file else {
            return Ok(self.counter.clone());
        };
        let (path, bytes) = flow.beside(file).first().map_or((file.as_str(), [].as_slice()), |(path, bytes)| (path, bytes));
        Counter::of_file(bytes).map_err(|problem| DataError::MalformedFile { file: path.to_owned(), format: "a tokenizer", problem })
    }

    fn length(item: &Item, counter: &Counter) -> usize {
        item.example.as_ref().map_or(0, |example| counter.count(&example.messages))
    }

    /// Cuts the longest question at its end, word by word, until the example fits. What is to be learnt is never cut.
    fn cut(&self, example: &mut Example, counter: &Counter) -> bool {
        if example.written.is_some() {
            return false;
        }
        let asked = example.messages.iter().enumerate().filter(|(_, message)| message.role == Role::User);
        let Some((place, whole)) = asked.max_by_key(|(_, message)| message.content.len()).map(|(place, message)| (place, message.content.clone())) else {
            return false;
        };
        let ends: Vec<usize> = whole.split_whitespace().map(|word| word.as_ptr().addr() - whole.as_ptr().addr() + word.len()).collect();
        let mut fits = |words: usize| {
            example.messages[place].content = whole[..ends[words - 1]].to_owned();
            counter.count(&example.messages) <= self.tokens
        };
        // The most words that fit, at least one.
        let (mut low, mut high) = (0, ends.len());
        while low + 1 < high {
            let middle = low.midpoint(high);
            if fits(middle) { low = middle } else { high = middle }
        }
        low > 0 && fits(low)
    }

    fn judge(&self, item: &mut Item, counter: &Counter) -> Verdict {
        let length = Self::length(item, counter);
        if length <= self.tokens {
            return Verdict::Keep;
        }
        let cut = matches!(self.overflow, Overflow::Truncate) && item.example.as_mut().is_some_and(|example| self.cut(example, counter));
        if cut { Verdict::Changed } else { Verdict::Reject(format!("{length} tokens, more than {}", self.tokens)) }
    }
}

impl Operator for Limit {
    fn is_by_row(&self) -> bool {
        !matches!(self.overflow, Overflow::Fail)
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let counter = self.counting(flow)?;
        if !matches!(self.overflow, Overflow::Fail) {
            return Ok(flow.change("limit", rows, move |item| self.judge(item, &counter)));
        }
        Ok(flow.chunks("limit", rows, move |items| {
            let lengths: Vec<usize> = items.par_iter().map(|item| Self::length(item, &counter)).collect();
            match lengths.iter().position(|&length| length > self.tokens) {
                None => Ok(vec![Verdict::Keep; items.len()]),
                Some(first) => Err(DataError::TooLong {
                    count: lengths.iter().filter(|&&length| length > self.tokens).count(),
                    limit: self.tokens,
                    place: items[first].place(),
                    tokens: lengths[first],
                }),
            }
        }))
    }
}
