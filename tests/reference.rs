//! The local engine against PyTorch, transformers and peft: what they make of small random models is recorded in `tests/reference`, and
//! `tests/reference/record.py` makes it anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use retune::model::{
    Fitted, Keep, Lessons, Packed, Sample, Weights, architecture, gradient, likely, load_adapter, load_weights, objective_gradient, save_adapter,
};
use safetensors::SafeTensors;
use serde_json::Value;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(place(name)).expect("it is recorded")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).expect("JSON")
}

fn rows(expected: &Value) -> Vec<Sample> {
    let row = |row: &Value| Sample {
        tokens: row["tokens"].as_array().expect("tokens").iter().map(|token| u32::try_from(token.as_u64().expect("a token")).expect("a token")).collect(),
        learned: row["learned"].as_array().expect("a mask").iter().map(|learned| learned.as_bool().expect("a flag")).collect(),
    };
    expected["rows"].as_array().expect("rows").iter().map(row).collect()
}

fn weights(name: &str) -> Weights {
    let architecture = architecture(&json(&format!("{name}/config.json"))).expect("it is known");
    load_weights(architecture, &[&bytes(&format!("{name}/model.safetensors"))]).expect("they fit")
}

fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    file.tensor(name).expect(name).data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn near(what: &str, found: f64, wanted: f64, within: f64) {
    assert!((found - wanted).abs() <= within, "{what}: {found}, and PyTorch has {wanted}");
}

/// Each within a share of the longest.
fn all_near(what: &str, found: &[f32], wanted: &[f32], share: f32) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let longest = wanted.iter().fold(1e-6_f32, |longest, value| longest.max(value.abs()));
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() <= share * longest, "{what} at {at}: {found}, and PyTorch has {wanted}, where {longest} is the largest");
    }
}

fn logits(of: &Value) -> Vec<f32> {
    of["logits"].as_array().expect("logits").iter().map(|logit| logit.as_f64().expect("a number") as f32).collect()
}

#[test]
fn each_family_has_the_losses_and_gradients_of_transformers() {
    let expected = json("expected.json");
    for (name, wanted) in expected["families"].as_object().expect("families") {
        let (weights, rows) = (weights(name), rows(&expected));
        let (loss, found) = gradient(&weights, None, &Packed::new(&rows), Keep::All);
        near(name, loss, wanted["loss"].as_f64().expect("a loss"), 1e-4 * loss);
        all_near(name, &likely(&weights, None, &rows[1].tokens), &logits(wanted), 1e-4);
        let file = bytes(&format!("{name}/gradients.safetensors"));
        let file = SafeTensors::deserialize(&file).expect("tensors");
        for tensor in weights.layout().tensors() {
            all_near(&format!("{name} {}", tensor.name), &found[tensor.range], &numbers(&file, &tensor.name), 2e-4);
        }
    }
}

#[test]
fn adapters_of_peft_are_read_and_learn_as_there() {
    let expected = json("expected.json");
    let (base, rows) = (weights("llama"), rows(&expected));
    for (kind, wanted) in expected["families"]["llama"]["adapters"].as_object().expect("adapters") {
        let files = ["adapter_config.json", "adapter_model.safetensors"].map(|name| (name.to_owned(), bytes(&format!("llama/{kind}/{name}"))));
        let files = BTreeMap::from(files);
        let adapter = load_adapter(base.architecture, &files).expect("it is read");
        let fitted = Fitted::new(&adapter, &base);
        let (loss, found) = gradient(&base, Some(&fitted), &Packed::new(&rows), Keep::All);
        near(kind, loss, wanted["loss"].as_f64().expect("a loss"), 1e-4 * loss);
        all_near(kind, &likely(&base, Some(&fitted), &rows[1].tokens), &logits(wanted), 1e-4);
        all_near(kind, &likely(&adapter.merged(&base), None, &rows[1].tokens), &logits(wanted), 1e-4);
        let file = bytes(&format!("llama/{kind}/gradients.safetensors"));
        let file = SafeTensors::deserialize(&file).expect("tensors");
        let ours = save_adapter(&adapter, "llama").expect("it is written");
        let (ours, theirs) = (SafeTensors::deserialize(&ours["adapter_model.safetensors"]).expect("tensors"), &files["adapter_model.safetensors"]);
        let theirs = SafeTensors::deserialize(theirs).expect("tensors");
        let sorted = |file: &SafeTensors<'_>| {
            let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(&ours), sorted(&theirs), "the same tensors");
        for name in theirs.names() {
            assert_eq!(numbers(&ours, name), numbers(&theirs, name), "{name}");
        }
        for layer in 0..base.architecture.layers {
            for matrix in adapter.shape.targets.iter() {
                let pair = adapter.layout().pair(layer, matrix).expect("a target");
                let at = format!("base_model.model.model.layers.{layer}.{}", matrix.module());
                all_near(&format!("{kind} {at} A"), &found[pair.down], &numbers(&file, &format!("{at}.lora_A.weight")), 2e-4);
                all_near(&format!("{kind} {at} B"), &found[pair.up], &numbers(&file, &format!("{at}.lora_B.weight")), 2e-4);
                if adapter.shape.is_dora {
                    all_near(&format!("{kind} {at} m"), &found[pair.magnitude], &numbers(&file, &format!("{at}.lora_magnitude_vector")), 2e-4);
                }
            }
        }
    }
}

#[test]
fn preferences_are_learnt_as_their_formula_has_it() {
    let expected = json("expected.json");
    let (base, rows) = (weights("llama"), rows(&expected));
    let files = ["adapter_config.json", "adapter_model.safetensors"].map(|name| (name.to_owned(), bytes(&format!("llama/plain/{name}"))));
    let adapter = load_adapter(base.architecture, &BTreeMap::from(files)).expect("it is read");
    let [better, worse] = [rows[0].clone(), rows[1].clone()];
    let pairs = Lessons::Prefer { pairs: vec![[better, worse]], beta: expected["pairs"]["beta"].as_f64().expect("a number") };
    let (loss, found) = objective_gradient(&base, &Fitted::new(&adapter, &base), &pairs).expect("nobody stops it");
    near("pairs", loss, expected["pairs"]["loss"].as_f64().expect("a loss"), 1e-4);
    let length = found.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    near("pairs", length, expected["pairs"]["gradient"].as_f64().expect("a length"), 1e-3 * length);
}
