//! A GGUF file, version 3 (the specification in ggml's `docs/gguf.md`), with matrices in half precision.

use half::f16;

use super::super::architecture::{Architecture, NORM_EPSILON, ROPE_BASE};
use super::super::weights::{Layout, Matrix, Weights};
use crate::data::{CHAT_TEMPLATE, Special, Tokenizer};

/// Tensors begin at multiples of this.
const ALIGNMENT: usize = 32;
/// Kinds of tokens: text, and those that are none.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

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

    fn half(name: String, rows: usize, columns: usize, values: &[f32]) -> Self {
        Self { name, shape: vec![rows, columns], kind: 1, bytes: values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect() }
    }
}

/// The weights of a model, its tokenizer and its chat template as one file.
///
/// llama.cpp cuts some words otherwise than we do. Where these are several line breaks or no ASCII, no merge of our tokenizer makes one token of
/// them, so that they are the same tokens either way. Only a word that begins with an apostrophe and one of the English endings (`'store`, `'llama`)
/// may come out as other tokens of the same text.
#[must_use]
pub fn gguf(weights: &Weights, name: &str) -> Vec<u8> {
    let (metadata, tensors) = (metadata(&weights.architecture, name), tensors(weights));
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
    out
}

fn metadata(a: &Architecture, name: &str) -> Vec<(String, Value)> {
    let tokenizer = Tokenizer::tiny();
    let (texts, plain) = tokenizer.texts();
    let kinds = (0..texts.len()).map(|number| if number < plain { NORMAL } else { CONTROL }).collect();
    let size = |size: usize| Value::U32(u32::try_from(size).unwrap_or(u32::MAX));
    let end = tokenizer.special(Special::End);
    let metadata = [
        ("general.architecture", Value::Text("llama".into())),
        ("general.name", Value::Text(name.into())),
        ("general.file_type", Value::U32(1)),
        ("llama.vocab_size", size(a.vocabulary)),
        ("llama.context_length", size(a.context)),
        ("llama.embedding_length", size(a.width)),
        ("llama.block_count", size(a.layers)),
        ("llama.feed_forward_length", size(a.hidden)),
        ("llama.attention.head_count", size(a.heads)),
        ("llama.attention.head_count_kv", size(a.heads)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(NORM_EPSILON)),
        ("llama.rope.dimension_count", size(a.head_width())),
        ("llama.rope.freq_base", Value::F32(ROPE_BASE)),
        ("tokenizer.ggml.model", Value::Text("gpt2".into())),
        ("tokenizer.ggml.pre", Value::Text("smollm".into())),
        ("tokenizer.ggml.tokens", Value::Texts(texts)),
        ("tokenizer.ggml.token_type", Value::Numbers(kinds)),
        ("tokenizer.ggml.merges", Value::Texts(tokenizer.merges())),
        ("tokenizer.ggml.eos_token_id", Value::U32(end)),
        ("tokenizer.ggml.padding_token_id", Value::U32(end)),
        ("tokenizer.ggml.add_bos_token", Value::Flag(false)),
        ("tokenizer.chat_template", Value::Text(CHAT_TEMPLATE.into())),
    ];
    metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn tensors(weights: &Weights) -> Vec<Tensor> {
    let (a, layout, values) = (&weights.architecture, Layout::new(weights.architecture), &weights.values);
    let mut tensors = vec![
        Tensor::half("token_embd.weight".into(), a.vocabulary, a.width, &values[layout.embedding()]),
        Tensor::single("output_norm.weight".into(), &values[layout.final_norm()]),
    ];
    for layer in 0..a.layers {
        for (which, name) in ["attn_norm", "ffn_norm"].into_iter().enumerate() {
            tensors.push(Tensor::single(format!("blk.{layer}.{name}.weight"), &values[layout.norm(layer, which)]));
        }
        for matrix in Matrix::ALL {
            let (rows, columns) = matrix.shape(a);
            let of = &values[layout.matrix(layer, matrix)];
            let turned = matches!(matrix, Matrix::Query | Matrix::Key).then(|| interleaved(of, a, columns));
            let name = match matrix {
                Matrix::Query => "attn_q",
                Matrix::Key => "attn_k",
                Matrix::Value => "attn_v",
                Matrix::Output => "attn_output",
                Matrix::Gate => "ffn_gate",
                Matrix::Up => "ffn_up",
                Matrix::Down => "ffn_down",
            };
            tensors.push(Tensor::half(format!("blk.{layer}.{name}.weight"), rows, columns, turned.as_deref().unwrap_or(of)));
        }
    }
    tensors
}

/// The rows of a matrix for llama.cpp, which turns neighbours by their position, where we turn the first half of a head with the second.
fn interleaved(matrix: &[f32], a: &Architecture, columns: usize) -> Vec<f32> {
    let half = a.head_width() / 2;
    let rows = (0..a.heads).flat_map(|head| (0..half).flat_map(move |at| [2 * head * half + at, (2 * head + 1) * half + at]));
    rows.flat_map(|row| &matrix[row * columns..(row + 1) * columns]).copied().collect()
}
