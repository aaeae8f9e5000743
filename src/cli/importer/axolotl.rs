use serde_json::Value;

use super::Importer;
use super::draft::{Draft, name};
use super::reading::Reading;
use super::training::{Lora, Method, batch, decay, model};

pub const IMPORTER: Importer = Importer { name: "a config of Axolotl", fits, write };

fn fits(config: &Value) -> bool {
    config["base_model"].is_string()
}

fn write(config: &Reading, draft: &mut Draft) {
    let method = match config.text("/rl") {
        Some("dpo") => "dpo",
        Some(other) => {
            draft.comment(&format!("`rl: {other}` is not here; `dpo` is the nearest"));
            "dpo"
        }
        None => "supervised",
    };
    draft.raw("");
    let mut sources = Vec::new();
    for nth in 0..config.length("/datasets") {
        let place = |name: &str| format!("/datasets/{nth}/{name}");
        let path = config.text(&place("path")).unwrap_or("data/train.jsonl").to_owned();
        let stage = name(path.rsplit('/').next().unwrap_or(&path));
        let form = config.text(&place("type")).unwrap_or("chat_template").to_owned();
        // Of a folder or a data set of the hub a file here stands in.
        let is_file = path.ends_with(".jsonl") || path.ends_with(".json") || path.ends_with(".csv") || path.ends_with(".parquet");
        let file = if is_file { path.trim_start_matches("./").to_owned() } else { format!("data/{stage}.jsonl") };
        if !is_file {
            draft.comment(&format!("`{path}`: put its rows here, as JSON Lines"));
        }
        draft.open("collect", &[&stage], |draft| draft.node("source", &[&file]));
        sources.push((stage, form));
    }
    if sources.is_empty() {
        draft.open("collect", &["rows"], |draft| draft.node("source", &["data/train.jsonl"]));
        sources.push(("rows".into(), "chat_template".into()));
    }
    let validation = config.number("/val_set_size").filter(|share| (0.0..1.0).contains(share)).unwrap_or(0.0);
    draft.open("prepare", &["examples"], |draft| {
        for (stage, _) in &sources {
            draft.node("from", &[stage]);
        }
        rows(&sources[0].1, method, draft);
        draft.raw(&format!("split train={} validation={validation} test=0.0", 1.0 - validation));
    });
    draft.open("train", &["tuned"], |draft| {
        draft.node("data", &["examples"]);
        draft.node("provider", &["local"]);
        model(draft, config.text("/base_model").unwrap_or_default());
        let adapter = config.text("/adapter").unwrap_or_default();
        if adapter == "qlora" {
            draft.comment("QLoRA keeps the weights in four bits; here they are kept in bfloat16");
        }
        Method {
            name: method,
            epochs: config.number("/num_epochs"),
            batch: batch(config, "/micro_batch_size", "/gradient_accumulation_steps"),
            rate: config.number("/learning_rate"),
            warmup: config.number("/warmup_ratio"),
            decay: decay(config, "/lr_scheduler"),
            weight_decay: config.number("/weight_decay"),
            clip: config.number("/max_grad_norm"),
            max_length: config.number("/sequence_len"),
            beta: config.number("/dpo_beta"),
            checkpointing: config.flag("/gradient_checkpointing"),
            on_inputs: config.flag("/train_on_inputs"),
            lora: ["lora", "qlora"].contains(&adapter).then(|| Lora {
                rank: config.number("/lora_r"),
                alpha: config.number("/lora_alpha"),
                dropout: config.number("/lora_dropout"),
                kind: match (config.flag("/peft_use_dora"), config.flag("/peft_use_rslora")) {
                    (Some(true), _) => Some("dora"),
                    (_, Some(true)) => Some("rslora"),
                    _ => None,
                },
                targets: targets(config, "/lora_target_modules"),
            }),
        }
        .write(draft);
        if let Some(seed) = config.number("/seed").filter(|seed| *seed >= 0.0) {
            draft.raw(&format!("seed {seed}"));
        }
    });
}

/// The operator that makes examples of rows in a form.
fn rows(form: &str, method: &str, draft: &mut Draft) {
    match (form, method) {
        ("alpaca" | "alpaca_chat.load_qa", "supervised") => draft.open("chat", &[], |draft| {
            draft.node("user", &["{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}"]);
            draft.node("assistant", &["{{ output }}"]);
        }),
        (_, "dpo") => draft.open("preference", &[], |draft| {
            draft.comment(&format!("rows of the form `{form}`"));
            draft.node("user", &["{{ prompt }}"]);
            draft.node("preferred", &["{{ chosen }}"]);
            draft.node("other", &["{{ rejected }}"]);
        }),
        ("chat_template", _) => draft.raw("passthrough"),
        (form, _) => {
            draft.comment(&format!("rows of the form `{form}`: `passthrough` wants `messages` in each, `chat` makes them of fields"));
            draft.raw("passthrough");
        }
    }
}

/// The matrices that get an adapter, as a list or one word.
pub fn targets(config: &Reading, pointer: &str) -> Vec<String> {
    let texts = |value: &Value| value.as_array().map(|list| list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect());
    config.take(pointer).and_then(texts).unwrap_or_default()
}
