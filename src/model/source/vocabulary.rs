//! The tokenizer and the chat template in the metadata of a GGUF file, put into the form of Hugging Face's library.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::data::{ChatTemplate, ChatTokenizer, Spelling, Templated};

use super::gguf::{Metadata, Value};

/// How byte-level vocabularies cut texts into words, by the names that llama.cpp gave them, as regular expressions of the models' own
/// `tokenizer.json`.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Kinds of tokens that stand for themselves in a text.
const CONTROL: f64 = 3.0;
const OWN: f64 = 4.0;

/// The tokenizer and the template of a file.
///
/// # Errors
/// What is missing, or not done here.
pub fn read(metadata: &Metadata) -> Result<ChatTokenizer, String> {
    let texts = |name: &str| -> Option<Vec<&str>> {
        metadata.list(name)?.iter().map(|value| if let Value::Text(text) = value { Some(text.as_str()) } else { None }).collect()
    };
    let numbers = |name: &str| -> Option<Vec<f64>> {
        metadata.list(name)?.iter().map(|value| if let Value::Number(number) = value { Some(*number) } else { None }).collect()
    };
    let tokens = texts("tokenizer.ggml.tokens").ok_or("it has no tokens (`tokenizer.ggml.tokens`)")?;
    let kinds = numbers("tokenizer.ggml.token_type").unwrap_or_default();
    let kind = metadata.text("tokenizer.ggml.model").unwrap_or_default();
    let (tokenizer, spelling) = match kind {
        "gpt2" => {
            let merges = texts("tokenizer.ggml.merges").ok_or("it has no merges (`tokenizer.ggml.merges`)")?;
            let pre = metadata.text("tokenizer.ggml.pre").ok_or("it does not say how its tokenizer cuts words (`tokenizer.ggml.pre`): convert it anew")?;
            (byte_level(pre, &tokens, &merges)?, Spelling::Bytes)
        }
        "llama" => {
            let scores = numbers("tokenizer.ggml.scores").ok_or("it has no scores (`tokenizer.ggml.scores`)")?;
            let has_prefix = metadata.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
            (pieces(&tokens, &scores, has_prefix), Spelling::Pieces { has_prefix })
        }
        other => return Err(format!("the tokenizer `{other}` is not done here; `gpt2` and `llama` are")),
    };
    let added = |(id, kind): (usize, &f64)| {
        let text = tokens.get(id).filter(|_| matches!(*kind, CONTROL | OWN))?;
        Some(json!({ "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": *kind == CONTROL }))
    };
    let mut whole = tokenizer;
    whole["added_tokens"] = kinds.iter().enumerate().filter_map(added).collect();
    let id = |name: &str| metadata.size(&format!("tokenizer.ggml.{name}_token_id"));
    let text = |name: &str| id(name).and_then(|id| tokens.get(id)).copied().unwrap_or_default();
    let template = metadata
        .text("tokenizer.chat_template")
        .ok_or("it has no chat template (`tokenizer.chat_template`), so that it cannot be tuned or asked in conversations")?;
    let template = ChatTemplate::new(template, text("bos"), text("eos")).map_err(|error| error.to_string())?;
    let mut ends: Vec<u32> = [id("eos"), id("eot")].into_iter().flatten().filter_map(|id| u32::try_from(id).ok()).collect();
    ends.dedup();
    let templated = Templated::new(whole, template, ends, spelling).map_err(|error| format!("its tokenizer cannot be used: {error}"))?;
    Ok(ChatTokenizer::Templated(Box::new(templated)))
}

fn vocabulary(tokens: &[&str]) -> Map<String, Json> {
    tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect()
}

fn byte_level(pre: &str, tokens: &[&str], merges: &[&str]) -> Result<Json, String> {
    let bytes = |cuts: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": cuts });
    let split = |regex: &str| json!({ "type": "Sequence", "pretokenizers": [{ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false }, bytes(false)] });
    let words = match pre {
        "gpt-2" => bytes(true),
        "smollm" => json!({ "type": "Sequence", "pretokenizers": [{ "type": "Digits", "individual_digits": true }, bytes(true)] }),
        "llama-bpe" | "llama3" | "llama-v3" => split(LLAMA_3),
        "qwen2" => split(QWEN_2),
        other => return Err(format!("how `{other}` cuts words is not known here; gpt-2, smollm, llama-bpe and qwen2 are")),
    };
    let normalizer = if pre == "qwen2" { json!({ "type": "NFC" }) } else { Json::Null };
    let merges: Vec<Json> = merges.iter().map(|merge| merge.split_once(' ').map_or(json!(merge), |(left, right)| json!([left, right]))).collect();
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": normalizer, "pre_tokenizer": words, "post_processor": null, "decoder": bytes(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": matches!(pre, "llama-bpe" | "llama3" | "llama-v3"), "vocab": vocabulary(tokens), "merges": merges,
        },
    }))
}

/// What llama.cpp calls the way in which a `tokenizer.json` cuts words, for byte-level vocabularies.
#[must_use]
pub fn pre_tokenizer(tokenizer: &Json) -> Option<&'static str> {
    fn first(words: &Json) -> &Json {
        words["pretokenizers"].as_array().and_then(|all| all.first()).unwrap_or(words)
    }
    let words = &tokenizer["pre_tokenizer"];
    let kind = first(words)["type"].as_str()?;
    let regex = first(words)["pattern"]["Regex"].as_str();
    let is_plain = |bytes: &Json| bytes["type"] == "ByteLevel" && bytes["use_regex"] != false && bytes["add_prefix_space"] == false;
    match (kind, regex) {
        ("ByteLevel", _) if is_plain(first(words)) => Some("gpt-2"),
        ("Digits", _) if first(words)["individual_digits"] == true && words["pretokenizers"].get(1).is_some_and(is_plain) => Some("smollm"),
        ("Split", Some(LLAMA_3)) => Some("llama-bpe"),
        ("Split", Some(QWEN_2)) => Some("qwen2"),
        ("Split", Some(regex)) if regex == crate::data::TINY_WORDS => Some("smollm"),
        _ => None,
    }
}

/// A vocabulary of SentencePiece: which pieces are joined first goes by their scores, so that every way to make a piece of two others is a
/// merge of its strength.
fn pieces(tokens: &[&str], scores: &[f64], has_prefix: bool) -> Json {
    let known: HashMap<&str, f64> = tokens.iter().copied().zip(scores.iter().copied()).collect();
    let mut merges: Vec<(f64, usize, &str, &str)> = Vec::new();
    for (token, &score) in tokens.iter().zip(scores) {
        let cuts = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        merges.extend(cuts.filter(|(left, right)| known.contains_key(left) && known.contains_key(right)).map(|(left, right)| (score, left.len(), left, right)));
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)));
    let merges: Vec<Json> = merges.into_iter().map(|(_, _, left, right)| json!([left, right])).collect();
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" });
    let normalizer = if has_prefix { json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "\u{2581}" }, replace] }) } else { replace };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": normalizer, "pre_tokenizer": null, "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": [{ "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " }, { "type": "ByteFallback" }, { "type": "Fuse" }] },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary(tokens), "merges": merges,
        },
    })
}
