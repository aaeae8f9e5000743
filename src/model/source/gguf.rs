//! A GGUF file, version 2 or 3 (the specification in ggml's `docs/gguf.md`).

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::model::error::ModelError;
use crate::model::network::architecture::{Architecture, Family, Local, Rope, Stretch};
use crate::model::network::layout::{Layout, Matrix, Sort};
use crate::model::network::parameters::Numbers;

use super::bytes::Bytes;
use super::config::{bounded, plausible};
use super::quantised::Format;
use super::{Base, fits, vocabulary};

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, whatever its kind.
    Number(f64),
    /// A flag.
    Flag(bool),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Self>),
}

/// What a file says of itself, by name.
#[derive(Debug, Default)]
pub struct Metadata(HashMap<String, Value>);

impl Metadata {
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Value::Text(text) = self.0.get(name)? { Some(text) } else { None }
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        if let Value::Number(number) = self.0.get(name)? { Some(*number) } else { None }
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        if let Value::Flag(flag) = self.0.get(name)? { Some(*flag) } else { None }
    }

    pub fn list(&self, name: &str) -> Option<&[Value]> {
        if let Value::List(list) = self.0.get(name)? { Some(list) } else { None }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes were whole numbers in the file")]
    pub fn size(&self, name: &str) -> Option<usize> {
        self.number(name).filter(|number| *number >= 0.0 && *number < 1e12).map(|number| number as usize)
    }
}

/// A tensor of the file.
struct Stored<'a> {
    /// Rows first.
    shape: Vec<usize>,
    format: Format,
    bytes: &'a [u8],
}

/// What the numbers of a list are read as, to bound how deep lists lie in each other.
fn value(bytes: &mut Bytes<'_>, kind: u32, depth: usize) -> Option<Value> {
    #[expect(clippy::cast_precision_loss, reason = "what is read as a size is far below 2^52")]
    Some(match kind {
        0 => Value::Number(f64::from(bytes.u8()?)),
        1 => Value::Number(f64::from(bytes.u8()?.cast_signed())),
        2 => Value::Number(f64::from(bytes.u16()?)),
        3 => Value::Number(f64::from(bytes.u16()?.cast_signed())),
        4 => Value::Number(f64::from(bytes.u32()?)),
        5 => Value::Number(f64::from(bytes.u32()?.cast_signed())),
        6 => Value::Number(f64::from(bytes.f32()?)),
        7 => Value::Flag(bytes.u8()? != 0),
        8 => Value::Text(bytes.text()?),
        9 if depth < 4 => {
            let (kind, length) = (bytes.u32()?, bytes.size()?);
            // Each takes a byte at least.
            if length > bytes.len() {
                return None;
            }
            Value::List((0..length).map(|_| value(bytes, kind, depth + 1)).collect::<Option<_>>()?)
        }
        10 => Value::Number(bytes.u64()? as f64),
        11 => Value::Number(bytes.u64()?.cast_signed() as f64),
        12 => Value::Number(bytes.f64()?),
        _ => return None,
    })
}

/// The metadata and the tensors of a file.
fn parse(file: &[u8]) -> Result<(Metadata, HashMap<String, Stored<'_>>), String> {
    let mut bytes = Bytes::new(file);
    let cut = || "it is cut short or broken".to_owned();
    if bytes.take(4) != Some(b"GGUF") {
        return Err("it is no GGUF file".into());
    }
    let version = bytes.u32().ok_or_else(cut)?;
    if !matches!(version, 2 | 3) {
        return Err(format!("GGUF of version {version} is not read here, only 2 and 3"));
    }
    let (tensors, pairs) = (bytes.size().ok_or_else(cut)?, bytes.size().ok_or_else(cut)?);
    let mut metadata = Metadata::default();
    for _ in 0..pairs {
        let name = bytes.text().ok_or_else(cut)?;
        let kind = bytes.u32().ok_or_else(cut)?;
        metadata.0.insert(name, value(&mut bytes, kind, 0).ok_or_else(cut)?);
    }
    let mut described = Vec::new();
    for _ in 0..tensors {
        let name = bytes.text().ok_or_else(cut)?;
        let dimensions = bytes.u32().filter(|count| *count <= 4).ok_or_else(cut)?;
        let mut shape: Vec<usize> = (0..dimensions).map(|_| bytes.size()).collect::<Option<_>>().ok_or_else(cut)?;
        shape.reverse();
        let (format, offset) = (bytes.u32().ok_or_else(cut)?, bytes.size().ok_or_else(cut)?);
        described.push((name, shape, format, offset));
    }
    let alignment = metadata.size("general.alignment").filter(|alignment| *alignment > 0).unwrap_or(32);
    let data = (file.len() - bytes.len()).next_multiple_of(alignment);
    let mut found = HashMap::with_capacity(described.len());
    for (name, shape, format, offset) in described {
        let format = Format::of(format).ok_or_else(|| format!("the number format {format} of `{name}` is not read here"))?;
        let numbers = shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
        let size = numbers.and_then(|numbers| format.size(numbers)).ok_or_else(cut)?;
        let start = data.checked_add(offset).ok_or_else(cut)?;
        let bytes = file.get(start..).and_then(|rest| rest.get(..size)).ok_or_else(cut)?;
        found.insert(name, Stored { shape, format, bytes });
    }
    Ok((metadata, found))
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Base, ModelError> {
    let file = std::fs::read(path).map_err(|error| ModelError::unreadable(path, &error))?;
    let lacks = |lack: String| ModelError::NoModel { path: path.to_owned(), lack };
    let (metadata, tensors) = parse(&file).map_err(lacks)?;
    let architecture = architecture(&metadata, &tensors).map_err(lacks)?;
    let layout = Layout::new(architecture);
    let wanted = layout.tensors();
    // What is in the layers and not in the architecture would be left out silently.
    let known: BTreeSet<&str> = wanted.iter().map(|tensor| tensor.gguf.as_str()).collect();
    if let Some(left) = tensors.keys().find(|name| name.starts_with("blk.") && !known.contains(name.as_str())) {
        return Err(lacks(format!("{left} is nothing that this engine computes with")));
    }
    for tensor in &wanted {
        let stored = tensors.get(&tensor.gguf).ok_or_else(|| lacks(format!("there is no tensor {}", tensor.gguf)))?;
        if stored.shape != tensor.shape {
            return Err(lacks(format!("{} is {:?} and should be {:?}", tensor.gguf, stored.shape, tensor.shape)));
        }
    }
    let mut values = vec![0.0; layout.size()];
    for tensor in wanted {
        let Some(stored) = tensors.get(&tensor.gguf) else { continue };
        let place = &mut values[tensor.range];
        stored.format.read(stored.bytes, place);
        if architecture.family == Family::Llama && matches!(tensor.sort, Sort::Matrix(Matrix::Query | Matrix::Key)) {
            untwist(place, architecture.head_width, architecture.width);
        }
    }
    let chat = vocabulary::read(&metadata).map_err(lacks)?;
    fits(&chat, architecture.vocabulary).map_err(lacks)?;
    let digest = blake3::Hasher::new_derive_key("retune base model v1").update(&file).finalize().into();
    Ok(Base { architecture, numbers: Some(Numbers::of(values)), chat, digest: Some(digest), place: path.to_owned() })
}

/// Files of Llama's family have the two halves of each head's rows interleaved; this puts them one after the other again.
fn untwist(matrix: &mut [f32], head_width: usize, columns: usize) {
    let half = head_width / 2;
    for head in matrix.chunks_exact_mut(head_width * columns) {
        let twisted = head.to_vec();
        for (row, out) in head.chunks_exact_mut(columns).enumerate() {
            let from = row % half * 2 + row / half;
            out.copy_from_slice(&twisted[from * columns..(from + 1) * columns]);
        }
    }
}

fn architecture(metadata: &Metadata, tensors: &HashMap<String, Stored<'_>>) -> Result<Architecture, String> {
    let kind = metadata.text("general.architecture").unwrap_or_default();
    let family = match kind {
        "llama" => Family::Llama,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        "gemma3" => Family::Gemma3,
        _ => return Err(format!("`{kind}` is no kind that the local engine has: llama, qwen2, qwen3 and gemma3")),
    };
    let named = |name: &str| format!("{kind}.{name}");
    let size = |name: &str| metadata.size(&named(name)).filter(|size| *size > 0).ok_or_else(|| format!("it does not say `{}`", named(name)));
    if size("expert_count").is_ok() {
        return Err("mixtures of experts are not done here".into());
    }
    let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
    let head_width = size("attention.key_length").or_else(|_| size("rope.dimension_count")).unwrap_or(width / heads);
    let key_heads = size("attention.head_count_kv").unwrap_or(heads);
    plausible(width, heads, key_heads, head_width)?;
    let rope = rope(metadata, tensors, kind, head_width)?;
    let window = size("attention.sliding_window").ok();
    let local = window.map(|window| match family {
        // The pattern and the base of the local layers are the same in all of that family, and not in the file.
        Family::Gemma3 => Local { window, every: 6, base: 10_000.0 },
        _ => Local { window, every: usize::MAX, base: rope.base },
    });
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "sizes are small, weights single precision")]
    let (score_scale, epsilon) =
        ((head_width as f64).sqrt().recip() as f32, metadata.number(&named("attention.layer_norm_rms_epsilon")).unwrap_or(1e-6) as f32);
    let embedding = tensors.get("token_embd.weight").ok_or("there is no tensor token_embd.weight")?;
    bounded(Architecture {
        family,
        vocabulary: embedding.shape.first().copied().unwrap_or(0),
        width,
        layers: size("block_count")?,
        heads,
        key_heads,
        head_width,
        hidden: size("feed_forward_length")?,
        context: size("context_length")?,
        epsilon,
        rope,
        local,
        score_scale,
        tied: !tensors.contains_key("output.weight"),
    })
}

fn rope(metadata: &Metadata, tensors: &HashMap<String, Stored<'_>>, kind: &str, head_width: usize) -> Result<Rope, String> {
    let named = |name: &str| format!("{kind}.rope.{name}");
    let base = metadata.number(&named("freq_base")).unwrap_or(10_000.0);
    if let Some(factors) = tensors.get("rope_freqs.weight") {
        let mut values = vec![0.0; factors.shape.iter().product()];
        factors.format.read(factors.bytes, &mut values);
        return by_parts(base, &values, head_width).ok_or_else(|| "its factors of positions are none of Llama 3".into());
    }
    let stretch = match metadata.text(&named("scaling.type")).unwrap_or("none") {
        "none" => Stretch::None,
        "linear" => Stretch::Linear(metadata.number(&named("scaling.factor")).unwrap_or(1.0)),
        other => return Err(format!("the scaling `{other}` of positions is not done here")),
    };
    Ok(Rope { base, stretch })
}

/// The stretch of Llama 3 that gives these factors, of which the largest is its own and the rest is the same in all of that family.
fn by_parts(base: f64, factors: &[f32], head_width: usize) -> Option<Rope> {
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let (low, high, original) = (1.0, 4.0, 8192.0);
    let rope = Rope { base, stretch: Stretch::ByParts { factor, low, high, original } };
    let wanted = crate::model::network::rotary::factors(rope, head_width);
    let fits = wanted.len() == factors.len() && wanted.iter().zip(factors).all(|(wanted, found)| (wanted / found - 1.0).abs() < 1e-3);
    fits.then_some(rope)
}
