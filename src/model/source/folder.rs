//! A folder with a checkpoint of Hugging Face.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::{ChatTemplate, ChatTokenizer, Spelling, Templated};
use crate::fingerprint::Digest;
use crate::model::error::ModelError;
use crate::model::files::load_weights;
use crate::model::network::parameters::Numbers;

use super::{Base, config, fits};

pub const CONFIG: &str = "config.json";
pub const WEIGHTS: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";
pub const TOKENIZER: &str = "tokenizer.json";
/// Files that say what the weights are; only the first two have to be there.
pub const DESCRIPTIONS: &[&str] = &[CONFIG, TOKENIZER, "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "special_tokens_map.json"];

/// The files of a checkpoint that count.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    if !folder.join(CONFIG).is_file() {
        return Err(ModelError::NoModel { path: folder.to_owned(), lack: format!("it has no {CONFIG}") });
    }
    let mut files = vec![folder.join(CONFIG), folder.join(TOKENIZER)];
    let index = folder.join(INDEX);
    if index.is_file() {
        files.extend(shards(&index)?.iter().map(|name| folder.join(name)));
        files.push(index);
    } else if folder.join(WEIGHTS).is_file() {
        files.push(folder.join(WEIGHTS));
    }
    files.extend(DESCRIPTIONS[2..].iter().map(|name| folder.join(name)).filter(|file| file.is_file()));
    Ok(files)
}

/// The files that an index spreads the weights over.
pub fn shards(index: &Path) -> Result<BTreeSet<String>, ModelError> {
    let names = json(index)?;
    let names: BTreeSet<String> = names["weight_map"].as_object().into_iter().flatten().filter_map(|(_, name)| name.as_str().map(str::to_owned)).collect();
    // A name is a file of this folder, and no path out of it.
    match names.iter().find(|name| name.contains(['/', '\\']) || name.starts_with('.')) {
        Some(name) => Err(ModelError::NoModel { path: index.to_owned(), lack: format!("it names `{name}`, which is no file beside it") }),
        None => Ok(names),
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|error| ModelError::unreadable(path, &error))
}

fn json(path: &Path) -> Result<Value, ModelError> {
    serde_json::from_slice(&bytes(path)?).map_err(|error| ModelError::unreadable(path, &error))
}

/// What tells the content of some files from every other, as `read` finds it.
pub fn content(files: &[PathBuf]) -> Result<Digest, ModelError> {
    let mut hasher = contents();
    for file in files {
        let content = Digest::of_file(file).map_err(|error| ModelError::unreadable(file, &error))?;
        hasher.update(blake3::hash(name(file).as_bytes()).as_bytes()).update(content.as_bytes());
    }
    Ok(hasher.finalize().into())
}

fn contents() -> blake3::Hasher {
    blake3::Hasher::new_derive_key("retune base model v1")
}

fn name(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Reads a checkpoint.
pub fn read(folder: &Path, files: &[PathBuf]) -> Result<Base, ModelError> {
    let mut hasher = contents();
    let (mut shards, mut config, mut about, mut generation, mut special) = (Vec::new(), Value::Null, Value::Null, Value::Null, Value::Null);
    let (mut tokenizer, mut template) = (None, None);
    for file in files {
        let content = bytes(file)?;
        let name = name(file);
        hasher.update(blake3::hash(name.as_bytes()).as_bytes());
        hasher.update(blake3::hash(&content).as_bytes());
        let json = |content: &[u8]| serde_json::from_slice::<Value>(content).map_err(|error| ModelError::unreadable(file, &error));
        match name {
            CONFIG => config = json(&content)?,
            "tokenizer_config.json" => about = json(&content)?,
            "generation_config.json" => generation = json(&content)?,
            "special_tokens_map.json" => special = json(&content)?,
            "chat_template.jinja" => template = Some(String::from_utf8_lossy(&content).into_owned()),
            TOKENIZER => tokenizer = Some(json(&content)?),
            INDEX => {}
            _ => shards.push(content),
        }
    }
    let architecture = config::architecture(&config).map_err(|problem| ModelError::NoModel { path: folder.join(CONFIG), lack: problem })?;
    let shards: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
    let numbers = if shards.is_empty() { None } else { Some(Numbers::of(load_weights(architecture, &shards)?.values)) };
    let tokenizer = tokenizer.ok_or_else(|| ModelError::NoModel { path: folder.to_owned(), lack: format!("it has no {TOKENIZER}") })?;
    let text = |name: &str| [&about, &special].into_iter().find_map(|from| said(&from[name])).unwrap_or_default();
    let (bos, eos) = (text("bos_token"), text("eos_token"));
    let template = template.or_else(|| chat_template(&about["chat_template"]));
    let template = template.ok_or_else(|| ModelError::NoTemplate { path: folder.to_owned() })?;
    let template = ChatTemplate::new(&template, &bos, &eos).map_err(|error| ModelError::NoModel { path: folder.to_owned(), lack: error.to_string() })?;
    let ids =
        [&generation["eos_token_id"], &config["eos_token_id"]].into_iter().flat_map(|ids| ids.as_array().map_or(std::slice::from_ref(ids), Vec::as_slice));
    let id = |text: &str| {
        let added = tokenizer["added_tokens"].as_array().into_iter().flatten().find(|token| token["content"] == text);
        added.map_or(&tokenizer["model"]["vocab"][text], |token| &token["id"]).as_u64().and_then(|id| u32::try_from(id).ok())
    };
    let ends: Vec<u32> = ids.filter_map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).chain(id(&eos)).collect();
    // Byte-level vocabularies have no word with the mark of SentencePiece.
    let has_prefix = tokenizer["decoder"].to_string().contains("\"Strip\"");
    let spelling = if id("\u{2581}").is_some() { Spelling::Pieces { has_prefix } } else { Spelling::Bytes };
    let lacks = |path: PathBuf, lack: String| ModelError::NoModel { path, lack };
    let templated = Templated::new(tokenizer, template, ends, spelling).map_err(|error| lacks(folder.join(TOKENIZER), error))?;
    let chat = ChatTokenizer::Templated(Box::new(templated));
    fits(&chat, architecture.vocabulary).map_err(|lack| lacks(folder.to_owned(), lack))?;
    Ok(Base { architecture, numbers, chat, digest: Some(hasher.finalize().into()), place: folder.to_owned() })
}

/// A special token in a config: a text, or an object with it.
fn said(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// The template of a config: a text, or a list of which one is the default.
fn chat_template(template: &Value) -> Option<String> {
    let of_list = || template.as_array()?.iter().find(|named| named["name"] == "default")?["template"].as_str();
    template.as_str().or_else(of_list).map(str::to_owned)
}
