use rayon::prelude::*;

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::flow::{Flow, Item, Verdict};
use super::super::{DataError, Tokenizer};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("limit", "Bounds the length of an example.").operator(1).properties(&[
    Slot::new("tokens", Kind::Integer(1, 1 << 24), "The most tokens that an example may have, counted with the tokenizer of `builtin:tiny`."),
    Slot::new("overflow", Kind::Choice(&["drop", "fail"]), "What happens to a longer one: it is rejected, or the stage fails.").or(Fallback::Text("drop")),
]);

pub const KIND: OperatorKind =
    OperatorKind { setting: &SETTING, prepare: |block| Ok(Box::new(Limit::from(block))), makes_examples: false, needs_examples: true };

#[derive(Debug)]
struct Limit {
    tokens: usize,
    fail: bool,
}

impl From<&Block> for Limit {
    fn from(block: &Block) -> Self {
        Self { tokens: block.count("tokens"), fail: block.text("overflow") == "fail" }
    }
}

fn length(item: &Item) -> usize {
    item.example.as_ref().map_or(0, |example| Tokenizer::tiny().count(&example.messages))
}

impl Operator for Limit {
    fn apply(&self, flow: &mut Flow) -> Result<(), DataError> {
        let lengths: Vec<usize> = flow.items.par_iter().map(length).collect();
        let long: Vec<usize> = (0..lengths.len()).filter(|&index| lengths[index] > self.tokens).collect();
        if let (true, Some(&first)) = (self.fail, long.first()) {
            let row = &flow.items[first].row;
            let place = format!("{}:{}", row.source, row.line);
            return Err(DataError::TooLong { count: long.len(), limit: self.tokens, place, tokens: lengths[first] });
        }
        let verdict = |&length: &usize| {
            if length > self.tokens { Verdict::Reject(format!("{length} tokens, more than {}", self.tokens)) } else { Verdict::Keep }
        };
        let verdicts = lengths.iter().map(verdict).collect();
        flow.settle("limit", verdicts);
        Ok(())
    }
}
