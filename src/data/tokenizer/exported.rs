//! The tokenizer in the forms in which other programs read one.

use serde_json::{Value, json};

use super::{Role, Special, Tokenizer};

/// What stands for each byte where tokens are written as text (GPT-2): itself where it can be seen, else a letter from U+0100 on.
pub fn letters() -> [char; 256] {
    let mut letters = ['\0'; 256];
    let mut next = 0x100;
    for byte in 0..=255_u8 {
        let is_seen = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        letters[usize::from(byte)] = if is_seen { char::from(byte) } else { char::from_u32(next).unwrap_or_default() };
        next += u32::from(!is_seen);
    }
    letters
}

/// Words as the tokenizer cuts them, as a regular expression.
pub const WORDS: &str = r" ?\p{Alphabetic}+| ?[^\p{Alphabetic}\p{N}\s]+|\p{N}|\s+(?= [^\s\p{N}])|\s+";

/// A conversation as the tokenizer writes it, as a template of Jinja.
pub const TEMPLATE: &str = "{% for message in messages %}{{ '<|' + (message['role'] if message['role'] in ['system', 'assistant'] else 'user') + '|>' + message['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

impl Special {
    const ALL: [Self; Self::COUNT as usize] = [Self::System, Self::User, Self::Assistant, Self::End];

    /// It as text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::System => "<|system|>",
            Self::User => "<|user|>",
            Self::Assistant => "<|assistant|>",
            Self::End => "<|end|>",
        }
    }

    /// What opens the messages of a role, as text.
    #[must_use]
    pub const fn opens(role: Role) -> &'static str {
        Self::opening(role).text()
    }
}

impl Tokenizer {
    /// A special token as text.
    #[must_use]
    pub fn special_text(&self, token: u32) -> Option<&'static str> {
        Special::ALL.into_iter().find(|special| self.special(*special) == token).map(Special::text)
    }

    /// All tokens as text, in order, and how many of them are no special ones.
    #[must_use]
    pub fn texts(&self) -> (Vec<String>, usize) {
        let letters = letters();
        let text = |piece: &Vec<u8>| piece.iter().map(|byte| letters[usize::from(*byte)]).collect::<String>();
        let special = Special::ALL.iter().map(|special| special.text().to_owned());
        (self.pieces.iter().map(text).chain(special).collect(), self.pieces.len())
    }

    /// The merges as text, the strongest first: the two parts with a space between them.
    #[must_use]
    pub fn merges(&self) -> Vec<String> {
        let (texts, _) = self.texts();
        let mut merges: Vec<_> = self.ranks.iter().collect();
        merges.sort_unstable_by_key(|(_, rank)| **rank);
        merges.into_iter().map(|((left, right), _)| format!("{} {}", texts[*left as usize], texts[*right as usize])).collect()
    }

    /// It as a `tokenizer.json` of Hugging Face's library.
    #[must_use]
    pub fn hugging_face(&self) -> Value {
        let (texts, plain) = self.texts();
        let vocabulary: serde_json::Map<String, Value> = texts[..plain].iter().enumerate().map(|(number, text)| (text.clone(), json!(number))).collect();
        let added = |(number, text): (usize, &String)| json!({ "id": plain + number, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
        let added: Vec<Value> = texts[plain..].iter().enumerate().map(added).collect();
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": WORDS }, "behavior": "Isolated", "invert": false },
                bytes.clone(),
            ]},
            "post_processor": null,
            "decoder": bytes,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": self.merges(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::Message;
    use super::*;

    fn theirs() -> tokenizers::Tokenizer {
        tokenizers::Tokenizer::from_bytes(Tokenizer::tiny().hugging_face().to_string()).expect("the library reads it")
    }

    proptest! {
        #[test]
        fn the_library_of_hugging_face_cuts_texts_into_the_same_tokens(text in "[a-cÄßé中１²Ⅷ\\n\\t .,'5\u{301}🦀-]{0,40}|[a-z ,.]{0,80}") {
            let mut ours = Vec::new();
            Tokenizer::tiny().encode(&text, &mut ours);
            let theirs = theirs().encode(text.as_str(), false).expect("it encodes");
            prop_assert_eq!(theirs.get_ids(), ours.as_slice());
        }
    }

    #[test]
    fn no_merge_crosses_where_others_cut_words() {
        // Runs of white space and what is no ASCII are cut otherwise by llama.cpp.
        let tokenizer = Tokenizer::tiny();
        let merged = (256..2044).map(|token| tokenizer.bytes(token));
        assert!(merged.into_iter().all(|piece| piece.is_ascii() && !piece.windows(2).any(|two| two.iter().all(u8::is_ascii_whitespace))));
    }

    #[test]
    fn a_conversation_by_the_template_is_the_prompt() {
        let messages = [Message::new(Role::System, "Be brief.".into()), Message::new(Role::User, "my card, please".into())];
        let text: String = messages.iter().map(|message| format!("{}{}{}", Special::opens(message.role), message.content, Special::End.text())).collect();
        let rendered = minijinja::render!(TEMPLATE, messages => [("system", "Be brief."), ("user", "my card, please")].map(|(role, content)| minijinja::context!(role, content)), add_generation_prompt => true);
        assert_eq!(rendered, format!("{text}<|assistant|>"));
        let theirs = theirs();
        let encoded = theirs.encode(rendered.as_str(), false).expect("it encodes");
        assert_eq!(encoded.get_ids(), Tokenizer::tiny().prompt(&messages));
        assert_eq!(theirs.decode(encoded.get_ids(), true).expect("it decodes"), "Be brief.my card, please");
    }
}
