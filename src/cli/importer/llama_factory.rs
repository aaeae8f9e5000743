use serde_json::Value;

use super::Importer;
use super::draft::{Draft, name};
use super::reading::Reading;
use super::training::{Lora, Method, batch, decay, model};

pub const IMPORTER: Importer = Importer { name: "a config of LLaMA-Factory", fits, write };

fn fits(config: &Value) -> bool {
    config["model_name_or_path"].is_string() && (config["stage"].is_string() || config["finetuning_type"].is_string())
}

fn write(config: &Reading, draft: &mut Draft) {
    let method = match config.text("/stage") {
        Some("dpo") => "dpo",
        Some("sft") | None => "supervised",
        Some(other) => {
            draft.comment(&format!("`stage: {other}` is not here; this is `sft`"));
            "supervised"
        }
    };
    let sets = config.text("/dataset").unwrap_or("rows").to_owned();
    draft.raw("");
    let names: Vec<String> = sets.split(',').map(|set| name(set.trim())).collect();
    for set in &names {
        draft.comment(&format!("the data set `{set}` of dataset_info.json"));
        draft.open("collect", &[set], |draft| draft.node("source", &[&format!("data/{set}.json")]));
    }
    let validation = config.number("/val_size").filter(|share| (0.0..1.0).contains(share)).unwrap_or(0.0);
    draft.open("prepare", &["examples"], |draft| {
        names.iter().for_each(|set| draft.node("from", &[set]));
        if method == "dpo" {
            draft.open("preference", &[], |draft| {
                draft.node("user", &["{{ instruction }}{% if input %}\n{{ input }}{% endif %}"]);
                draft.node("preferred", &["{{ chosen }}"]);
                draft.node("other", &["{{ rejected }}"]);
            });
        } else {
            draft.comment("rows as Alpaca has them; `passthrough` takes those with `messages`");
            draft.open("chat", &[], |draft| {
                draft.node("user", &["{{ instruction }}{% if input %}\n{{ input }}{% endif %}"]);
                draft.node("assistant", &["{{ output }}"]);
            });
        }
        if let Some(most) = config.number("/max_samples").filter(|most| *most >= 1.0) {
            draft.raw(&format!("sample rows={most:.0}"));
        }
        draft.raw(&format!("split train={} validation={validation} test=0.0", 1.0 - validation));
    });
    draft.open("train", &["tuned"], |draft| {
        draft.node("data", &["examples"]);
        draft.node("provider", &["local"]);
        model(draft, config.text("/model_name_or_path").unwrap_or_default());
        let targets = config.text("/lora_target").unwrap_or_default().split(',').map(|target| target.trim().to_owned()).collect();
        Method {
            name: method,
            epochs: config.number("/num_train_epochs"),
            batch: batch(config, "/per_device_train_batch_size", "/gradient_accumulation_steps"),
            rate: config.number("/learning_rate"),
            warmup: config.number("/warmup_ratio"),
            decay: decay(config, "/lr_scheduler_type"),
            weight_decay: config.number("/weight_decay"),
            clip: config.number("/max_grad_norm"),
            max_length: config.number("/cutoff_len"),
            beta: config.number("/pref_beta"),
            checkpointing: None,
            on_inputs: config.flag("/train_on_prompt"),
            lora: (config.text("/finetuning_type").unwrap_or("lora") == "lora").then(|| Lora {
                rank: config.number("/lora_rank"),
                alpha: config.number("/lora_alpha"),
                dropout: config.number("/lora_dropout"),
                kind: match (config.flag("/use_dora"), config.flag("/use_rslora")) {
                    (Some(true), _) => Some("dora"),
                    (_, Some(true)) => Some("rslora"),
                    _ => None,
                },
                targets,
            }),
        }
        .write(draft);
        if let Some(seed) = config.number("/seed").filter(|seed| *seed >= 0.0) {
            draft.raw(&format!("seed {seed}"));
        }
    });
}
