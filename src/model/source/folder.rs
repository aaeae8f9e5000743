//! A folder with a checkpoint of Hugging Face.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::data::{ChatTemplate, ChatTokenizer, Spelling, Templated};
use crate::model::error::ModelError;
use crate::model::files::load_weights;

use super::{Base, config, fits};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";
/// Files that may be there, and count.
const MORE: &[&str] = &["tokenizer_config.json", "chat_template.jinja", "generation_config.json", "special_tokens_map.json"];

/// The files of a checkpoint that count.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    if !folder.join(CONFIG).is_file() {
        return Err(ModelError::NoModel { path: folder.to_owned(), lack: format!("it has no {CONFIG}") });
    }
    let mut files = vec![folder.join(CONFIG), folder.join(TOKENIZER)];
    let index = folder.join(INDEX);
    if index.is_file() {
        let names = json(&index)?;
        let names: BTreeSet<&str> = names["weight_map"].as_object().into_iter().flatten().filter_map(|(_, name)| name.as_str()).collect();
        // A name is a file of this folder, and no path out of it.
        if let Some(name) = names.iter().find(|name| name.contains(['/', '\\'])) {
            return Err(ModelError::NoModel { path: index, lack: format!("it names `{name}`, which is no file beside it") });
        }
        files.extend(names.iter().map(|name| folder.join(name)));
        files.push(index);
    } else {
        files.push(folder.join(WEIGHTS));
    }
    files.extend(MORE.iter().map(|name| folder.join(name)).filter(|file| file.is_file()));
    Ok(files)
}

fn bytes(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|error| ModelError::unreadable(path, &error))
}

fn json(path: &Path) -> Result<Value, ModelError> {
    serde_json::from_slice(&bytes(path)?).map_err(|error| ModelError::unreadable(path, &error))
}

/// Reads a checkpoint.
pub fn read(folder: &Path, files: &[PathBuf]) -> Result<Base, ModelError> {
    let mut hasher = blake3::Hasher::new_derive_key("retune base model v1");
    let (mut shards, mut config, mut about, mut generation, mut special) = (Vec::new(), Value::Null, Value::Null, Value::Null, Value::Null);
    let (mut tokenizer, mut template) = (None, None);
    for file in files {
        let content = bytes(file)?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
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
    let weights = load_weights(architecture, &shards)?;
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
    Ok(Base { weights, chat, digest: Some(hasher.finalize().into()) })
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
