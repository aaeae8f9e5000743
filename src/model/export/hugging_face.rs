use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::architecture::{NORM_EPSILON, ROPE_BASE};
use super::super::error::ModelError;
use super::super::files::save_weights;
use super::super::weights::Weights;
use crate::data::{CHAT_TEMPLATE, Special, Tokenizer};

/// A folder as `transformers` and vLLM load it: config, weights in single precision, tokenizer and chat template.
pub fn folder(weights: &Weights) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    let (a, tokenizer) = (&weights.architecture, Tokenizer::tiny());
    let end = tokenizer.special(Special::End);
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": a.vocabulary,
        "hidden_size": a.width,
        "intermediate_size": a.hidden,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.heads,
        "head_dim": a.head_width(),
        "max_position_embeddings": a.context,
        "rms_norm_eps": f64::from(NORM_EPSILON),
        "rope_theta": f64::from(ROPE_BASE),
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": true,
        "bos_token_id": null,
        "eos_token_id": end,
        "torch_dtype": "float32",
    });
    let settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": a.context,
        "eos_token": Special::End.text(),
        "pad_token": Special::End.text(),
        "clean_up_tokenization_spaces": false,
        "chat_template": CHAT_TEMPLATE,
    });
    let generation = json!({ "eos_token_id": end, "pad_token_id": end, "do_sample": false });
    let text = |value: &Value| format!("{value:#}\n").into_bytes();
    Ok(BTreeMap::from([
        ("config.json".to_owned(), text(&config)),
        ("generation_config.json".to_owned(), text(&generation)),
        ("model.safetensors".to_owned(), save_weights(weights, false)?),
        ("tokenizer.json".to_owned(), tokenizer.hugging_face().to_string().into_bytes()),
        ("tokenizer_config.json".to_owned(), text(&settings)),
    ]))
}
