use std::collections::BTreeMap;

use half::bf16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::json;

use super::adapter::{Adapter, LoraShape};
use super::architecture::Architecture;
use super::error::ModelError;
use super::weights::{Matrix, Weights};

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
        Dtype::BF16 => Ok(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        other => Err(misfit(format!("the type {other:?} is not read here, only F32 and BF16"))),
    }
}

/// Weights as a safetensors file with the names of a Llama checkpoint, in `bf16` or full single precision.
///
/// # Errors
/// When the file cannot be put together.
pub fn save_weights(weights: &Weights, brief: bool) -> Result<Vec<u8>, ModelError> {
    let tensors = weights.layout().tensors().into_iter().map(|(name, shape, range)| {
        let values = &weights.values[range];
        if brief {
            (name, shape, Dtype::BF16, values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect())
        } else {
            (name, shape, Dtype::F32, singles(values))
        }
    });
    serialize(tensors.collect())
}

/// Weights from a safetensors file.
///
/// # Errors
/// When it is not one, or its tensors are not those of the architecture.
pub fn load_weights(architecture: Architecture, bytes: &[u8]) -> Result<Weights, ModelError> {
    let file = SafeTensors::deserialize(bytes).map_err(misfit)?;
    let layout = super::weights::Layout::new(architecture);
    let mut values = vec![0.0; layout.size()];
    for (name, shape, range) in layout.tensors() {
        let tensor = file.tensor(&name).map_err(misfit)?;
        if tensor.shape() != shape {
            return Err(misfit(format!("{name} is {:?} and should be {shape:?}", tensor.shape())));
        }
        values[range].copy_from_slice(&numbers(&tensor)?);
    }
    Ok(Weights { architecture, values })
}

fn adapter_name(layer: usize, matrix: Matrix, factor: char) -> String {
    format!("base_model.model.model.layers.{layer}.{}.lora_{factor}.weight", matrix.module())
}

/// The files of an adapter as PEFT names and lays them out.
///
/// # Errors
/// When they cannot be put together.
pub fn save_adapter(adapter: &Adapter, base: &str) -> Result<BTreeMap<String, Vec<u8>>, ModelError> {
    let (layout, rank) = (adapter.layout(), adapter.shape.rank);
    let mut tensors = Vec::new();
    for layer in 0..adapter.architecture.layers {
        for matrix in Matrix::ALL {
            let (outputs, inputs) = matrix.shape(&adapter.architecture);
            let (down, up) = layout.pair(layer, matrix);
            tensors.push((adapter_name(layer, matrix, 'A'), vec![rank, inputs], Dtype::F32, singles(&adapter.values[down])));
            tensors.push((adapter_name(layer, matrix, 'B'), vec![outputs, rank], Dtype::F32, singles(&adapter.values[up])));
        }
    }
    let targets: Vec<&str> = Matrix::ALL.iter().filter_map(|matrix| matrix.module().split_once('.').map(|(_, name)| name)).collect();
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": adapter.shape.alpha,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
    });
    let config = serde_json::to_vec_pretty(&config).map_err(misfit)?;
    Ok(BTreeMap::from([("adapter_config.json".to_owned(), config), ("adapter_model.safetensors".to_owned(), serialize(tensors)?)]))
}

/// An adapter from its files.
///
/// # Errors
/// When a file is missing, or does not fit the base.
pub fn load_adapter(architecture: Architecture, files: &BTreeMap<String, Vec<u8>>) -> Result<Adapter, ModelError> {
    let file = |name: &str| files.get(name).ok_or_else(|| misfit(format!("{name} is missing")));
    let config: serde_json::Value = serde_json::from_slice(file("adapter_config.json")?).map_err(misfit)?;
    let rank = config["r"].as_u64().and_then(|rank| usize::try_from(rank).ok()).ok_or_else(|| misfit("the rank is missing"))?;
    let alpha = config["lora_alpha"].as_f64().ok_or_else(|| misfit("alpha is missing"))?;
    let tensors = SafeTensors::deserialize(file("adapter_model.safetensors")?).map_err(misfit)?;
    let mut adapter = Adapter::new(architecture, LoraShape { rank, alpha }, 0);
    let layout = adapter.layout();
    for layer in 0..architecture.layers {
        for matrix in Matrix::ALL {
            let (down, up) = layout.pair(layer, matrix);
            for (factor, range) in [('A', down), ('B', up)] {
                let values = numbers(&tensors.tensor(&adapter_name(layer, matrix, factor)).map_err(misfit)?)?;
                if values.len() != range.len() {
                    return Err(misfit(format!("{} has the wrong size", adapter_name(layer, matrix, factor))));
                }
                adapter.values[range].copy_from_slice(&values);
            }
        }
    }
    Ok(adapter)
}
