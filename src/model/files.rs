use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use crate::model::error::ModelError;
use crate::model::network::adapter::{Adapter, LoraShape, Targets};
use crate::model::network::architecture::Architecture;
use crate::model::network::layout::{Layout, Matrix, Sort, Tensor};
use crate::model::network::weights::Weights;

fn misfit(problem: impl std::fmt::Display) -> ModelError {
    ModelError::Misfit { problem: problem.to_string() }
}

fn serialize(tensors: Vec<(String, Vec<usize>, Dtype, Vec<u8>)>) -> Result<Vec<u8>, ModelError> {
    let views: Result<Vec<_>, ModelError> =
        tensors.iter().map(|(name, shape, dtype, bytes)| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(misfit)?))).collect();
    safetensors::serialize(views?, None).map_err(misfit)
}

fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn numbers(tensor: &TensorView<'_>) -> Result<Vec<f32>, ModelError> {
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::F16 => Ok(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        Dtype::BF16 => Ok(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        other => Err(misfit(format!("the type {other:?} is not read here, only F32, F16 and BF16"))),
    }
}

/// The numbers of a tensor as files have them.
fn stored<'a>(weights: &'a Weights, tensor: &Tensor) -> std::borrow::Cow<'a, [f32]> {
    let values = &weights.values[tensor.range.clone()];
    if tensor.sort == Sort::Gain && weights.architecture.family.stores_gain_less_one() { values.iter().map(|gain| gain - 1.0).collect() } else { values.into() }
}

/// Weights as a safetensors file with the names of a checkpoint of Hugging Face, in `bf16` or full single precision.
///
/// # Errors
/// When the file cannot be put together.
pub fn save_weights(weights: &Weights, brief: bool) -> Result<Vec<u8>, ModelError> {
    let tensors = weights.layout().tensors().into_iter().map(|tensor| {
        let values = stored(weights, &tensor);
        if brief {
            (tensor.name, tensor.shape, Dtype::BF16, values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect())
        } else {
            (tensor.name, tensor.shape, Dtype::F32, singles(&values))
        }
    });
    serialize(tensors.collect())
}

/// Weights from the safetensors files of a checkpoint, each tensor in whichever of them has it.
///
/// # Errors
/// When one is none, or their tensors are not those of the architecture.
pub fn load_weights(architecture: Architecture, files: &[&[u8]]) -> Result<Weights, ModelError> {
    let files: Vec<SafeTensors<'_>> = files.iter().map(|bytes| SafeTensors::deserialize(bytes).map_err(misfit)).collect::<Result<_, _>>()?;
    let layout = Layout::new(architecture);
    let tensors = layout.tensors();
    // What is in the layers and not in the architecture would be left out silently.
    let known: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let is_left = |name: &&str| name.starts_with("model.layers.") && !name.ends_with("rotary_emb.inv_freq") && !known.contains(name);
    if let Some(left) = files.iter().flat_map(SafeTensors::names).find(is_left) {
        return Err(misfit(format!("{left} is nothing that this engine computes with")));
    }
    for tensor in &tensors {
        let found = files.iter().find_map(|file| file.tensor(&tensor.name).ok());
        let found = found.ok_or_else(|| misfit(format!("there is no tensor {}", tensor.name)))?;
        if found.shape() != tensor.shape {
            return Err(misfit(format!("{} is {:?} and should be {:?}", tensor.name, found.shape(), tensor.shape)));
        }
    }
    let mut values = vec![0.0; layout.size()];
    for tensor in tensors {
        let found = files.iter().find_map(|file| file.tensor(&tensor.name).ok());
        let found = found.ok_or_else(|| misfit(format!("there is no tensor {}", tensor.name)))?;
        let place = &mut values[tensor.range];
        place.copy_from_slice(&numbers(&found)?);
        if tensor.sort == Sort::Gain && architecture.family.stores_gain_less_one() {
            place.iter_mut().for_each(|gain| *gain += 1.0);
        }
    }
    Ok(Weights { architecture, values })
}

/// The tensors of an adapter for a matrix, by PEFT's names, with their shapes and where they lie.
fn adapter_tensors(adapter: &Adapter) -> Vec<(String, Vec<usize>, Range<usize>)> {
    let (layout, rank) = (adapter.layout(), adapter.shape.rank);
    let mut tensors = Vec::new();
    for layer in 0..adapter.architecture.layers {
        for matrix in adapter.shape.targets.iter() {
            let Some(pair) = layout.pair(layer, matrix) else { continue };
            let (outputs, inputs) = matrix.shape(&adapter.architecture);
            let place = format!("base_model.model.model.layers.{layer}.{}", matrix.module());
            tensors.push((format!("{place}.lora_A.weight"), vec![rank, inputs], pair.down));
            tensors.push((format!("{place}.lora_B.weight"), vec![outputs, rank], pair.up));
            if adapter.shape.is_dora {
                tensors.push((format!("{place}.lora_magnitude_vector"), vec![outputs], pair.magnitude));
            }
        }
    }
    tensors
}

/// The files of an adapter as PEFT names and lays them out.
///
/// # Errors
/// When they cannot be put together.
pub fn save_adapter(adapter: &Adapter, base: &str) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    let tensors = adapter_tensors(adapter).into_iter().map(|(name, shape, range)| (name, shape, Dtype::F32, singles(&adapter.values[range])));
    let shape = adapter.shape;
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": shape.dropout,
        "use_rslora": shape.is_rank_stabilised,
        "use_dora": shape.is_dora,
        "target_modules": shape.targets.iter().map(Matrix::target).collect::<Vec<_>>(),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
    });
    let config = serde_json::to_vec_pretty(&config).map_err(misfit)?;
    Ok(BTreeMap::from([("adapter_config.json".to_owned(), config), ("adapter_model.safetensors".to_owned(), serialize(tensors.collect())?)]))
}

/// Settings of PEFT that change what an adapter does, and that this engine does not have.
const UNKNOWN: &[&str] = &[
    "alpha_pattern",
    "rank_pattern",
    "bias",
    "lora_bias",
    "fan_in_fan_out",
    "modules_to_save",
    "layers_to_transform",
    "layer_replication",
    "target_parameters",
    "use_qalora",
];

/// An adapter from its files: one of ours, or of PEFT.
///
/// # Errors
/// When a file is missing, does not fit the base, or says what this engine does not do.
pub fn load_adapter(architecture: Architecture, files: &BTreeMap<String, Vec<u8>>) -> Result<Adapter, ModelError> {
    let file = |name: &str| files.get(name).ok_or_else(|| misfit(format!("{name} is missing")));
    let config: Value = serde_json::from_slice(file("adapter_config.json")?).map_err(misfit)?;
    let rank = config["r"].as_u64().and_then(|rank| usize::try_from(rank).ok()).ok_or_else(|| misfit("the rank is missing"))?;
    let alpha = config["lora_alpha"].as_f64().ok_or_else(|| misfit("alpha is missing"))?;
    let named: Vec<&str> = config["target_modules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let targets = Targets::of(Matrix::ALL.into_iter().filter(|matrix| named.contains(&matrix.target()) || named.contains(&matrix.module())));
    if let Some(other) = named.iter().find(|name| Matrix::ALL.iter().all(|matrix| matrix.target() != **name && matrix.module() != **name)) {
        return Err(misfit(format!("the adapter is for `{other}` too, which has no adapter here")));
    }
    if named.is_empty() {
        return Err(misfit("`target_modules` of the adapter is no list of matrices"));
    }
    // What is absent, empty or off changes nothing.
    let is_set = |name: &str| match &config[name] {
        Value::Null | Value::Bool(false) => false,
        Value::Object(parts) => !parts.is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        Value::String(text) => text != "none",
        _ => true,
    };
    if let Some(other) = UNKNOWN.iter().find(|name| is_set(name)) {
        return Err(misfit(format!("`{other}` of the adapter is not done here")));
    }
    let is = |name: &str| config[name].as_bool().unwrap_or(false);
    let (dropout, is_dora) = (config["lora_dropout"].as_f64().unwrap_or(0.0), is("use_dora"));
    let shape = LoraShape { rank, alpha, is_rank_stabilised: is("use_rslora"), is_dora, dropout, targets };
    let tensors = SafeTensors::deserialize(file("adapter_model.safetensors")?).map_err(misfit)?;
    let mut adapter = Adapter::empty(architecture, shape);
    for (name, _, range) in adapter_tensors(&adapter) {
        let found = tensors.tensor(&name).or_else(|_| tensors.tensor(&format!("{name}.weight"))).map_err(misfit)?;
        let values = numbers(&found)?;
        if values.len() != range.len() {
            return Err(misfit(format!("{name} has the wrong size")));
        }
        adapter.values[range].copy_from_slice(&values);
    }
    Ok(adapter)
}
