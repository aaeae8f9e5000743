use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Stream, Verdict};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("normalize", "Brings the text of all fields into one form, so that equal things look equal.").operator(2).properties(&[
    Slot::new("unicode", Kind::Choice(&["nfc", "nfkc", "none"]), "The Unicode normalisation form.").or(Fallback::Text("nfc")),
    Slot::new("whitespace", Kind::Flag, "Makes one space of every run of white space, and trims.").or(Fallback::Flag(true)),
    Slot::new("control", Kind::Flag, "Takes out control characters, and marks that are not seen such as zero-width spaces.").or(Fallback::Flag(true)),
]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Normalize::from(block))));

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
    control: bool,
}

impl From<&Block> for Normalize {
    fn from(block: &Block) -> Self {
        let form = match block.text("unicode") {
            "nfkc" => Form::Nfkc,
            "none" => Form::AsIs,
            _ => Form::Nfc,
        };
        Self { form, whitespace: block.flag("whitespace"), control: block.flag("control") }
    }
}

impl Normalize {
    /// The text in its normal form, or nothing if it has it already.
    fn normal(&self, text: &str) -> Option<String> {
        if self.is_plain(text) { None } else { self.composed(text) }
    }

    /// Whether a text is in its normal form at a glance: most are nothing but ASCII with single spaces.
    fn is_plain(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let is_printable = bytes.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~'));
        let is_squeezed = || {
            let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
            !(text.starts_with(' ') || text.ends_with(' ') || pairs.fold(false, |any, (one, next)| any | (*one == b' ' && *next == b' ')))
        };
        is_printable && (!self.whitespace || is_squeezed())
    }

    /// The same for all texts in a JSON value: those are every other piece between its quotes, unless one is escaped.
    fn is_plain_json(&self, json: &str) -> bool {
        !json.contains('\\') && json.split('"').skip(1).step_by(2).all(|text| self.is_plain(text))
    }

    fn composed(&self, text: &str) -> Option<String> {
        let plain = self.control.then(|| seen(text)).flatten();
        let text = plain.as_deref().unwrap_or(text);
        let composed: Option<String> = match self.form {
            Form::Nfc if is_nfc_quick(text.chars()) != IsNormalized::Yes => Some(text.nfc().collect()),
            Form::Nfkc if is_nfkc_quick(text.chars()) != IsNormalized::Yes => Some(text.nfkc().collect()),
            _ => None,
        };
        let spaced = self.whitespace.then(|| squeezed(composed.as_deref().unwrap_or(text))).flatten();
        spaced.or(composed).or_else(|| plain.clone())
    }
}

/// The text without what is not seen and is no white space; nothing if there is none of it.
fn seen(text: &str) -> Option<String> {
    let unseen = |c: char| (c.is_control() && !c.is_whitespace()) || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    text.contains(unseen).then(|| text.replace(unseen, ""))
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
    fn is_by_row(&self) -> bool {
        true
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        Ok(flow.change("normalize", rows, |item| {
            if item.rewrite(|json| !self.is_plain_json(json), &mut |text| self.normal(text)) { Verdict::Changed } else { Verdict::Keep }
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_glance_tells_what_a_look_would(texts in prop::collection::vec("([a ~.]|[ \t\n\u{7}\u{a0}\u{200b}\u{e9}\"\\\\]|e\u{301}|\u{fb01}){0,8}", 0..4), whitespace in any::<bool>(), control in any::<bool>()) {
            for form in [Form::Nfc, Form::Nfkc, Form::AsIs] {
                let normalize = Normalize { form, whitespace, control };
                let is_normal = |text: &String| normalize.composed(text).is_none();
                prop_assert!(texts.iter().all(|text| is_normal(text) || !normalize.is_plain(text)));
                let json = serde_json::to_string(&texts).expect("it is JSON");
                prop_assert!(texts.iter().all(is_normal) || !normalize.is_plain_json(&json), "{json}");
            }
        }
    }

    #[test]
    fn what_is_not_seen_goes_and_what_is_normal_is_not_touched() {
        let normalize = Normalize { form: Form::Nfc, whitespace: true, control: true };
        assert_eq!(normalize.normal("a\u{200b}b\u{7} \t c\n"), Some("ab c".into()));
        assert_eq!(normalize.normal("e\u{301}"), Some("\u{e9}".into()));
        assert_eq!(normalize.normal("plain text"), None);
        let bare = Normalize { form: Form::AsIs, whitespace: false, control: false };
        assert_eq!(bare.normal(" e\u{301}\u{7}\n"), None);
    }
}
