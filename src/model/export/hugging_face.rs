use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::data::ChatTokenizer;
use crate::model::error::ModelError;
use crate::model::files::save_weights;
use crate::model::network::architecture::{Architecture, Family, Stretch};
use crate::model::tuned::Model;

use super::described::Described;

/// A folder as `transformers` and vLLM load it: config, weights in single precision or `bf16`, tokenizer and chat template.
pub fn folder(model: &Model, brief: bool) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    let weights = model.merged();
    let mut files = described(&weights.architecture, model.chat(), if brief { "bfloat16" } else { "float32" })?;
    files.insert("model.safetensors".to_owned(), save_weights(&weights, brief)?);
    Ok(files)
}

/// The files of a folder that say what a model is, without any weights: what `from-scratch` begins with.
///
/// # Errors
/// When the tokenizer cannot be written.
pub fn describe(architecture: &Architecture, chat: &ChatTokenizer) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    described(architecture, chat, "float32")
}

fn described(a: &Architecture, chat: &ChatTokenizer, precision: &str) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    let said = Described::of(chat)?;
    let mut config = config(a, &said);
    config["torch_dtype"] = json!(precision);
    let settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": a.context,
        "bos_token": said.bos,
        "eos_token": said.eos,
        "pad_token": said.eos,
        "clean_up_tokenization_spaces": false,
        "chat_template": said.template,
    });
    let generation = json!({ "eos_token_id": said.ends, "pad_token_id": said.ends.first(), "do_sample": false });
    let text = |value: &Value| format!("{value:#}\n").into_bytes();
    Ok(BTreeMap::from([
        ("config.json".to_owned(), text(&config)),
        ("generation_config.json".to_owned(), text(&generation)),
        ("tokenizer.json".to_owned(), said.tokenizer.to_string().into_bytes()),
        ("tokenizer_config.json".to_owned(), text(&settings)),
    ]))
}

fn config(a: &Architecture, said: &Described) -> Value {
    let (class, kind) = match a.family {
        Family::Llama if a.local.is_some() => ("MistralForCausalLM", "mistral"),
        Family::Llama => ("LlamaForCausalLM", "llama"),
        Family::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
        Family::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
        Family::Gemma3 => ("Gemma3ForCausalLM", "gemma3_text"),
    };
    let gate = if a.family.has_gelu() { "gelu_pytorch_tanh" } else { "silu" };
    let mut config = json!({
        "architectures": [class],
        "model_type": kind,
        "vocab_size": a.vocabulary,
        "hidden_size": a.width,
        "intermediate_size": a.hidden,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.key_heads,
        "head_dim": a.head_width,
        "max_position_embeddings": a.context,
        "rms_norm_eps": f64::from(a.epsilon),
        "rope_theta": a.rope.base,
        "hidden_act": gate,
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": a.tied,
        "bos_token_id": said.bos_id,
        "eos_token_id": said.ends,
    });
    match a.rope.stretch {
        Stretch::None => {}
        Stretch::Linear(factor) => config["rope_scaling"] = json!({ "rope_type": "linear", "factor": factor }),
        Stretch::ByParts { factor, low, high, original } => {
            config["rope_scaling"] = json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high, "original_max_position_embeddings": original as u64,
            });
        }
    }
    if let Some(local) = a.local {
        config["sliding_window"] = json!(local.window);
        if matches!(a.family, Family::Qwen2 | Family::Qwen3) {
            config["use_sliding_window"] = json!(true);
            config["max_window_layers"] = json!(0);
        }
        if a.family == Family::Gemma3 {
            config["rope_local_base_freq"] = json!(local.base);
            config["layer_types"] = (0..a.layers).map(|layer| if a.window(layer).is_some() { "sliding_attention" } else { "full_attention" }).collect();
        }
    }
    if a.family == Family::Gemma3 {
        config["hidden_activation"] = json!(gate);
        config["query_pre_attn_scalar"] = json!((1.0 / f64::from(a.score_scale).powi(2)).round());
    }
    config
}
