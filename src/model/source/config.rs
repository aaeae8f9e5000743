//! `config.json` of a checkpoint of Hugging Face as an architecture.

use serde_json::Value;

use crate::model::network::architecture::{Architecture, Family, Local, Rope, Stretch};

/// The context where none is told.
const CONTEXT: u64 = 2048;

/// The architecture that a config describes.
///
/// # Errors
/// What in it this engine does not do.
pub fn architecture(config: &Value) -> Result<Architecture, String> {
    let kind = config["model_type"].as_str().unwrap_or_default();
    let family = match kind {
        "llama" | "mistral" => Family::Llama,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        "gemma3_text" => Family::Gemma3,
        "gemma3" => return Err("this is a model of pictures and text; the local engine has its text-only kin (`gemma3_text`)".into()),
        _ => return Err(format!("`{kind}` is no kind that the local engine has: llama, mistral, qwen2, qwen3 and gemma3_text")),
    };
    let size =
        |name: &str| config[name].as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0).ok_or_else(|| format!("it has no `{name}`"));
    let (width, heads) = (size("hidden_size")?, size("num_attention_heads")?);
    let head_width = size("head_dim").unwrap_or(width / heads);
    let key_heads = size("num_key_value_heads").unwrap_or(heads);
    let layers = size("num_hidden_layers")?;
    plausible(width, heads, key_heads, head_width)?;
    let off = |name: &str| config[name].as_bool() != Some(true);
    if !(off("attention_bias") && off("mlp_bias")) {
        return Err("biases (`attention_bias`, `mlp_bias`) are not done here".into());
    }
    let usual = if family == Family::Gemma3 { "gelu_pytorch_tanh" } else { "silu" };
    let gate = config["hidden_activation"].as_str().or(config["hidden_act"].as_str()).unwrap_or(usual);
    if gate != usual {
        return Err(format!("the activation `{gate}` is not done here for `{kind}`, only `{usual}`"));
    }
    if let Some(cap) = ["attn_logit_softcapping", "final_logit_softcapping"].into_iter().find(|name| config[*name].is_number()) {
        return Err(format!("`{cap}` is not done here"));
    }
    let rope = rope(config)?;
    let scale = config["query_pre_attn_scalar"].as_f64().filter(|_| family == Family::Gemma3);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sizes are small, weights single precision")]
    let (score_scale, epsilon) = (scale.unwrap_or(head_width as f64).sqrt().recip() as f32, config["rms_norm_eps"].as_f64().unwrap_or(1e-6) as f32);
    bounded(Architecture {
        family,
        vocabulary: size("vocab_size")?,
        width,
        layers,
        heads,
        key_heads,
        head_width,
        hidden: size("intermediate_size")?,
        context: usize::try_from(config["max_position_embeddings"].as_u64().unwrap_or(CONTEXT)).unwrap_or(usize::MAX),
        epsilon,
        rope,
        local: local(config, family, layers, rope)?,
        score_scale,
        tied: config["tie_word_embeddings"].as_bool().unwrap_or(family == Family::Gemma3),
    })
}

/// The widest that anything in a model is.
const WIDEST: usize = 1 << 20;
/// The most layers.
const DEEPEST: usize = 4096;
/// The largest vocabulary.
const WORDS: usize = 1 << 24;

/// Makes sure that heads go with each other.
pub fn plausible(width: usize, heads: usize, key_heads: usize, head_width: usize) -> Result<(), String> {
    let fit = key_heads > 0 && heads.is_multiple_of(key_heads) && head_width > 0 && head_width.is_multiple_of(2);
    let bounded = [width, heads, head_width].iter().all(|size| (1..=WIDEST).contains(size)) && heads * head_width <= WIDEST;
    if fit && bounded { Ok(()) } else { Err(format!("{heads} heads of width {head_width} and {key_heads} of keys are none that a model of width {width} has")) }
}

/// Makes sure that the sizes are those of a model, before room is made for it.
pub fn bounded(a: Architecture) -> Result<Architecture, String> {
    let sizes = [("layers", a.layers, DEEPEST), ("width of the feed-forward block", a.hidden, WIDEST), ("vocabulary", a.vocabulary, WORDS)];
    match sizes.into_iter().find(|(_, size, most)| !(1..=*most).contains(size)) {
        Some((what, size, most)) => Err(format!("its {what} of {size} is not from 1 to {most}")),
        None => Ok(a),
    }
}

/// Positions: of newer configs under `rope_parameters`, of older ones beside the others.
fn rope(config: &Value) -> Result<Rope, String> {
    let newer = &config["rope_parameters"];
    let newer = if newer["full_attention"].is_object() { &newer["full_attention"] } else { newer };
    let stretch = if newer.is_object() { newer } else { &config["rope_scaling"] };
    let base = newer["rope_theta"].as_f64().or(config["rope_theta"].as_f64()).unwrap_or(10_000.0);
    let number = |name: &str| stretch[name].as_f64().ok_or_else(|| format!("the scaling of positions has no `{name}`"));
    let stretch = match stretch["rope_type"].as_str().or(stretch["type"].as_str()).unwrap_or("default") {
        "default" => Stretch::None,
        "linear" => Stretch::Linear(number("factor")?),
        "llama3" => Stretch::ByParts {
            factor: number("factor")?,
            low: number("low_freq_factor")?,
            high: number("high_freq_factor")?,
            original: number("original_max_position_embeddings")?,
        },
        other => return Err(format!("the scaling `{other}` of positions is not done here; `linear` and `llama3` are")),
    };
    Ok(Rope { base, stretch })
}

/// Layers with a window.
fn local(config: &Value, family: Family, layers: usize, rope: Rope) -> Result<Option<Local>, String> {
    let window = config["sliding_window"].as_u64().and_then(|window| usize::try_from(window).ok());
    let is_off = matches!(family, Family::Qwen2 | Family::Qwen3) && config["use_sliding_window"].as_bool() != Some(true);
    let Some(window) = window.filter(|_| !is_off) else {
        return Ok(None);
    };
    if family != Family::Gemma3 {
        let from = config["max_window_layers"].as_u64().unwrap_or(0);
        return if from == 0 {
            Ok(Some(Local { window, every: usize::MAX, base: rope.base }))
        } else {
            Err("windows of some layers only are not done here".into())
        };
    }
    let every = config["sliding_window_pattern"].as_u64().and_then(|every| usize::try_from(every).ok()).unwrap_or(6);
    let kinds: Vec<&str> = config["layer_types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let every = kinds.iter().position(|kind| *kind == "full_attention").map_or(if kinds.is_empty() { every } else { usize::MAX }, |first| first + 1);
    let is_usual = |(layer, kind): (usize, &&str)| (*kind == "full_attention") == (layer + 1).is_multiple_of(every);
    if kinds.len() > layers || !kinds.iter().enumerate().all(is_usual) {
        return Err("the layers that see everything do not come at equal distances".into());
    }
    let base = config["rope_parameters"]["sliding_attention"]["rope_theta"].as_f64().or(config["rope_local_base_freq"].as_f64()).unwrap_or(10_000.0);
    Ok(Some(Local { window, every, base }))
}
