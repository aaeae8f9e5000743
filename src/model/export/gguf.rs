//! A GGUF file, version 3 (the specification in ggml's `docs/gguf.md`).

use half::f16;
use rayon::prelude::*;
use serde_json::Value as Json;

use crate::model::error::ModelError;
use crate::model::network::architecture::{Architecture, Family, Stretch};
use crate::model::network::layout::{Matrix, Sort};
use crate::model::network::weights::Weights;
use crate::model::source::pre_tokenizer;
use crate::model::tuned::Model;

use super::described::Described;

/// Tensors begin at multiples of this.
const ALIGNMENT: usize = 32;
/// Kinds of tokens: text, those that are none, those that stand for themselves, and places that nothing has.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const OWN: i32 = 4;
const UNUSED: i32 = 5;

/// How matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Half precision.
    F16,
    /// Eight bits, with a scale for each 32.
    Q8_0,
}

impl Precision {
    /// The number of the format for tensors, and of a file of it.
    const fn numbers(self) -> (u32, u32) {
        match self {
            Self::F16 => (1, 1),
            Self::Q8_0 => (8, 7),
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F16 => values.par_iter().flat_map_iter(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            Self::Q8_0 => values.par_chunks(EIGHTS).flat_map_iter(eighth).collect(),
        }
    }
}

/// Numbers in a block of eight bits.
const EIGHTS: usize = 32;

/// A block: its scale in half precision, then a byte a number (ggml's `quantize_row_q8_0`).
fn eighth(values: &[f32]) -> Vec<u8> {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = f16::from_f32(scale).to_le_bytes().to_vec();
    #[expect(clippy::cast_possible_truncation, reason = "it is from -127 to 127")]
    block.extend(values.iter().map(|value| ((value * inverse).round() as i8).cast_unsigned()));
    block
}

/// What a value of the metadata is, by the numbers of the format.
enum Value {
    U32(u32),
    F32(f32),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        let kind: u32 = match self {
            Self::U32(_) => 4,
            Self::F32(_) => 6,
            Self::Flag(_) => 7,
            Self::Text(_) => 8,
            Self::Texts(_) | Self::Numbers(_) => 9,
        };
        out.extend(kind.to_le_bytes());
        match self {
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::Flag(value) => out.push(u8::from(*value)),
            Self::Text(value) => text(value, out),
            Self::Texts(values) => {
                list(8, values.len(), out);
                values.iter().for_each(|value| text(value, out));
            }
            Self::Numbers(values) => {
                list(5, values.len(), out);
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
        }
    }
}

fn text(value: &str, out: &mut Vec<u8>) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}

fn list(kind: u32, length: usize, out: &mut Vec<u8>) {
    out.extend(kind.to_le_bytes());
    out.extend((length as u64).to_le_bytes());
}

/// A tensor: its name, its shape with rows first, its kind and its bytes.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    kind: u32,
    bytes: Vec<u8>,
}

impl Tensor {
    fn single(name: String, values: &[f32]) -> Self {
        Self { name, shape: vec![values.len()], kind: 0, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

/// The weights of a model, its tokenizer and its chat template as one file.
///
/// llama.cpp cuts some words otherwise than we do. Where these are several line breaks or no ASCII, no merge of our tokenizer makes one token of
/// them, so that they are the same tokens either way. Only a word that begins with an apostrophe and one of the English endings (`'store`, `'llama`)
/// may come out as other tokens of the same text.
pub fn gguf(model: &Model, name: &str, precision: Precision) -> Result<Vec<u8>, ModelError> {
    let weights = model.merged();
    // Rows that are no whole blocks stay in half precision.
    let precision = if weights.architecture.width.is_multiple_of(EIGHTS) { precision } else { Precision::F16 };
    let (metadata, tensors) = (metadata(&weights.architecture, &Described::of(model.chat())?, name, precision)?, tensors(&weights, precision));
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in &metadata {
        text(key, &mut out);
        value.write(&mut out);
    }
    let mut offset = 0;
    for tensor in &tensors {
        text(&tensor.name, &mut out);
        out.extend(u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX).to_le_bytes());
        // The format has the innermost size first.
        tensor.shape.iter().rev().for_each(|size| out.extend((*size as u64).to_le_bytes()));
        out.extend(tensor.kind.to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += tensor.bytes.len().next_multiple_of(ALIGNMENT);
    }
    for bytes in tensors.iter().map(|tensor| &tensor.bytes) {
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend(bytes);
    }
    Ok(out)
}

fn metadata(a: &Architecture, said: &Described, name: &str, precision: Precision) -> Result<Vec<(String, Value)>, ModelError> {
    let usual = 1.0 / f64::from(u32::try_from(a.head_width).unwrap_or(u32::MAX)).sqrt();
    let says = |problem: &str| Err(ModelError::Misfit { problem: format!("a GGUF file cannot say {problem}: export it as `safetensors`") });
    match (a.family, a.local) {
        (Family::Gemma3, Some(local)) if local.every != 6 || (local.base - 10_000.0).abs() > 1e-6 => return says("which of its layers have a window"),
        (Family::Gemma3, None) => return says("that its layers have no window"),
        (Family::Gemma3, _) if (f64::from(a.score_scale) / usual - 1.0).abs() > 1e-4 => return says("what its scores are multiplied by"),
        (Family::Llama | Family::Qwen2 | Family::Qwen3, Some(_)) => return says("that its layers have a window"),
        _ => {}
    }
    let kind = match a.family {
        Family::Llama => "llama",
        Family::Qwen2 => "qwen2",
        Family::Qwen3 => "qwen3",
        Family::Gemma3 => "gemma3",
    };
    let size = |size: usize| Value::U32(u32::try_from(size).unwrap_or(u32::MAX));
    #[expect(clippy::cast_possible_truncation, reason = "the format has single precision")]
    let base = a.rope.base as f32;
    let mut metadata = vec![
        ("general.architecture".to_owned(), Value::Text(kind.into())),
        ("general.name".to_owned(), Value::Text(name.into())),
        ("general.file_type".to_owned(), Value::U32(precision.numbers().1)),
    ];
    let of_model = [
        ("vocab_size", size(a.vocabulary)),
        ("context_length", size(a.context)),
        ("embedding_length", size(a.width)),
        ("block_count", size(a.layers)),
        ("feed_forward_length", size(a.hidden)),
        ("attention.head_count", size(a.heads)),
        ("attention.head_count_kv", size(a.key_heads)),
        ("attention.key_length", size(a.head_width)),
        ("attention.value_length", size(a.head_width)),
        ("attention.layer_norm_rms_epsilon", Value::F32(a.epsilon)),
        ("rope.dimension_count", size(a.head_width)),
        ("rope.freq_base", Value::F32(base)),
    ];
    metadata.extend(of_model.into_iter().map(|(key, value)| (format!("{kind}.{key}"), value)));
    if let Stretch::Linear(factor) = a.rope.stretch {
        #[expect(clippy::cast_possible_truncation, reason = "the format has single precision")]
        let factor = factor as f32;
        metadata.push((format!("{kind}.rope.scaling.type"), Value::Text("linear".into())));
        metadata.push((format!("{kind}.rope.scaling.factor"), Value::F32(factor)));
    }
    metadata.extend(a.local.map(|local| (format!("{kind}.attention.sliding_window"), size(local.window))));
    metadata.extend(vocabulary(a.vocabulary, said)?);
    Ok(metadata)
}

/// The tokenizer and the template.
fn vocabulary(size: usize, said: &Described) -> Result<Vec<(String, Value)>, ModelError> {
    let cannot = |problem: &str| ModelError::Misfit { problem: format!("the tokenizer cannot be put into a GGUF file: {problem}") };
    let pre = pre_tokenizer(&said.tokenizer).ok_or_else(|| cannot("llama.cpp has no name for how it cuts words"))?;
    let model = &said.tokenizer["model"];
    let (mut texts, mut kinds) = ((0..size).map(|number| format!("[PAD{number}]")).collect::<Vec<_>>(), vec![UNUSED; size]);
    let mut put = |number: Option<u64>, text: &str, kind: i32| {
        if let Some(place) = number.and_then(|number| usize::try_from(number).ok()).filter(|place| *place < size) {
            (texts[place], kinds[place]) = (text.to_owned(), kind);
        }
    };
    model["vocab"].as_object().into_iter().flatten().for_each(|(text, number)| put(number.as_u64(), text, NORMAL));
    for added in said.tokenizer["added_tokens"].as_array().into_iter().flatten() {
        put(added["id"].as_u64(), added["content"].as_str().unwrap_or_default(), if added["special"] == true { CONTROL } else { OWN });
    }
    let merge = |merge: &Json| match merge {
        Json::Array(two) => Some(format!("{} {}", two.first()?.as_str()?, two.get(1)?.as_str()?)),
        text => text.as_str().map(str::to_owned),
    };
    let merges = model["merges"].as_array().into_iter().flatten().map(merge).collect::<Option<Vec<_>>>().ok_or_else(|| cannot("its merges are not known"))?;
    let end = said.ends.first().copied().unwrap_or(0);
    let mut metadata = vec![
        ("tokenizer.ggml.model", Value::Text("gpt2".into())),
        ("tokenizer.ggml.pre", Value::Text(pre.into())),
        ("tokenizer.ggml.tokens", Value::Texts(texts)),
        ("tokenizer.ggml.token_type", Value::Numbers(kinds)),
        ("tokenizer.ggml.merges", Value::Texts(merges)),
        ("tokenizer.ggml.eos_token_id", Value::U32(end)),
        ("tokenizer.ggml.padding_token_id", Value::U32(end)),
        ("tokenizer.ggml.add_bos_token", Value::Flag(false)),
        ("tokenizer.chat_template", Value::Text(said.template.clone())),
    ];
    // A second token that ends an answer: one of a turn, where the first is one of a text.
    metadata.extend(said.ends.get(1).map(|end| ("tokenizer.ggml.eot_token_id", Value::U32(*end))));
    metadata.extend(said.bos_id.map(|bos| ("tokenizer.ggml.bos_token_id", Value::U32(bos))));
    Ok(metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn tensors(weights: &Weights, precision: Precision) -> Vec<Tensor> {
    let a = &weights.architecture;
    let mut tensors: Vec<Tensor> = Vec::new();
    for tensor in weights.layout().tensors() {
        let values = &weights.values[tensor.range];
        tensors.push(match tensor.sort {
            Sort::Gain | Sort::Bias(_) => Tensor::single(tensor.gguf, values),
            Sort::Matrix(Matrix::Query | Matrix::Key) if a.family == Family::Llama => {
                Tensor { name: tensor.gguf, shape: tensor.shape, kind: precision.numbers().0, bytes: precision.bytes(&interleaved(values, a)) }
            }
            Sort::Matrix(_) | Sort::Table => Tensor { name: tensor.gguf, shape: tensor.shape, kind: precision.numbers().0, bytes: precision.bytes(values) },
        });
    }
    if matches!(a.rope.stretch, Stretch::ByParts { .. }) {
        tensors.push(Tensor::single("rope_freqs.weight".into(), &crate::model::network::rotary::factors(a.rope, a.head_width)));
    }
    tensors
}

/// The rows of a matrix for llama.cpp, which turns neighbours by their position, where we turn the first half of a head with the second.
fn interleaved(matrix: &[f32], a: &Architecture) -> Vec<f32> {
    let (half, size) = (a.head_width / 2, a.head_width * a.width);
    let rows = matrix.chunks_exact(size).flat_map(|head| (0..half).flat_map(move |at| [at, half + at].map(|row| &head[row * a.width..(row + 1) * a.width])));
    rows.flatten().copied().collect()
}
