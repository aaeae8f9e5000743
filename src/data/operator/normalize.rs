use serde_json::Value;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Verdict};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("normalize", "Brings the text of all fields into one form, so that equal things look equal.").operator(1).properties(&[
    Slot::new("unicode", Kind::Choice(&["nfc", "nfkc", "none"]), "The Unicode normalisation form.").or(Fallback::Text("nfc")),
    Slot::new("whitespace", Kind::Flag, "Makes one space of every run of white space, and trims.").or(Fallback::Flag(true)),
]);

pub const KIND: OperatorKind =
    OperatorKind { setting: &SETTING, prepare: |block| Ok(Box::new(Normalize::from(block))), makes_examples: false, needs_examples: false };

#[derive(Debug, Clone, Copy)]
enum Form {
    Nfc,
    Nfkc,
    AsIs,
}

#[derive(Debug)]
struct Normalize {
    form: Form,
    whitespace: bool,
}

impl From<&Block> for Normalize {
    fn from(block: &Block) -> Self {
        let form = match block.text("unicode") {
            "nfkc" => Form::Nfkc,
            "none" => Form::AsIs,
            _ => Form::Nfc,
        };
        Self { form, whitespace: block.flag("whitespace") }
    }
}

impl Normalize {
    /// The text in its normal form, or nothing if it has it already.
    fn normal(&self, text: &str) -> Option<String> {
        let composed: Option<String> = match self.form {
            Form::Nfc if is_nfc_quick(text.chars()) != IsNormalized::Yes => Some(text.nfc().collect()),
            Form::Nfkc if is_nfkc_quick(text.chars()) != IsNormalized::Yes => Some(text.nfkc().collect()),
            _ => None,
        };
        let spaced = self.whitespace.then(|| squeezed(composed.as_deref().unwrap_or(text))).flatten();
        spaced.or(composed).filter(|normal| normal != text)
    }
}

fn squeezed(text: &str) -> Option<String> {
    let words = text.split_whitespace();
    let normal = words.fold(String::with_capacity(text.len()), |mut out, word| {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        out
    });
    (normal != text).then_some(normal)
}

impl Operator for Normalize {
    fn apply(&self, flow: &mut Flow) -> Result<(), DataError> {
        flow.each("normalize", |item| {
            let mut changed = false;
            for value in item.row.fields.values_mut() {
                if let Value::String(text) = value
                    && let Some(normal) = self.normal(text)
                {
                    *text = normal;
                    changed = true;
                }
            }
            if changed { Verdict::Changed } else { Verdict::Keep }
        });
        Ok(())
    }
}
