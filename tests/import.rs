//! Configs of other tools become pipelines that are right, and nothing of them is dropped in silence.

mod common;

use common::Workspace;

/// Imports a config, wants the pipeline to be right, and gives its text.
fn imported(name: &str, config: &str) -> String {
    let workspace = Workspace::new();
    workspace.write(name, config);
    let done = workspace.retune(&["import", name, "--to", "p.kdl"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let text = workspace.read("p.kdl");
    for (path, content) in files(&text) {
        workspace.write(&path, content);
    }
    let checked = workspace.retune(&["check", "p.kdl"]);
    assert_eq!(checked.code, 0, "{text}\n{}", checked.stderr);
    assert_eq!(workspace.retune(&["fmt", "--check", "p.kdl"]).code, 0, "it is laid out");
    text
}

/// The files that the comments of a pipeline say should be written.
fn files(text: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut lines = text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix("// write this into ").and_then(|rest| rest.strip_suffix(':')) else {
            continue;
        };
        let mut content = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("//   ")) {
            content.push_str(&line[5..]);
            content.push('\n');
        }
        files.push((path.to_owned(), content));
    }
    files
}

fn holds(text: &str, wanted: &[&str]) {
    for one in wanted {
        assert!(text.contains(one), "{one} is not in:\n{text}");
    }
}

#[test]
fn a_job_of_openai() {
    let text = imported(
        "job.json",
        r#"{"object": "fine_tuning.job", "id": "ftjob-abc123", "model": "gpt-4.1-nano-2025-04-14", "created_at": 1721764800, "finished_at": null,
        "fine_tuned_model": "ft:gpt-4.1-nano:acme::x", "organization_id": "org-1", "result_files": [], "status": "succeeded", "trained_tokens": 5768,
        "training_file": "file-train", "validation_file": "file-valid", "seed": 7, "suffix": "router", "metadata": {"team": "support"},
        "hyperparameters": {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 1.8},
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": "auto"}}},
        "integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}"#,
    );
    holds(&text, &["epochs 4", "batch-size 8", "rate-multiplier \"auto\"", "seed 7", "suffix", "file-train", "ftjob-abc123", "trained_tokens: 5768"]);
    holds(&text, &["What has no counterpart here", "metadata.team", "integrations.0.type"]);
}

#[test]
fn a_grader_and_an_eval_of_openai() {
    let grader = imported(
        "grader.json",
        r#"{"type": "score_model", "name": "kind", "model": "gpt-4.1", "input": [{"role": "user", "content": "How kind is {{sample.output_text}}?"}], "range": [0, 1]}"#,
    );
    holds(&grader, &["grader \"openai\" input=\"graders/kind.json\"", "\"score_model\""]);
    let eval = imported(
        "eval.json",
        r#"{"object": "eval", "id": "eval_1", "name": "Sentiment", "data_source_config": {"type": "custom", "schema": {"type": "object"}},
        "testing_criteria": [
            {"type": "string_check", "name": "match", "input": "{{sample.output_text}}", "reference": "{{item.answer}}", "operation": "eq"},
            {"type": "text_similarity", "name": "close", "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}", "evaluation_metric": "rouge_l", "pass_threshold": 0.7},
            {"type": "python", "name": "own", "source": "def grade(sample, item):\n    return 1.0"}
        ], "metadata": {}}"#,
    );
    holds(
        &eval,
        &[
            "grader \"exact-match\"",
            "grader \"similarity\" by=\"rouge-l\"",
            "gate \"close\" min=0.7",
            "grader \"command\"",
            "def grade(sample, item):",
            "data_source_config",
        ],
    );
}

#[test]
fn a_config_of_promptfoo() {
    let text = imported(
        "promptfooconfig.yaml",
        r#"
description: Which team answers
prompts:
  - "Name the team for: {{message}}"
  - raw: "Team of {{message}}?"
providers: [openai:gpt-4.1-mini, "anthropic:messages:claude"]
defaultTest:
  assert:
    - type: latency
      threshold: 3000
tests:
  - vars: {message: my parcel is late, expected: delivery}
    assert:
      - type: icontains
        value: delivery
      - type: not-regex
        value: "[0-9]{4}"
      - type: javascript
        value: output.length < 20
outputPath: out.json
"#,
    );
    holds(
        &text,
        &[
            "\"latency\" max=3",
            "\"contains\" value=\"delivery\" ignore-case=#true",
            "grader \"not\"",
            "javascript",
            "my parcel is late",
            "outputPath",
            "Team of",
            "anthropic",
        ],
    );
}

#[test]
fn a_config_of_axolotl() {
    let text = imported(
        "axolotl.yml",
        r#"
base_model: NousResearch/Llama-3.2-1B
load_in_4bit: true
datasets:
  - path: ./data/train.jsonl
    type: alpaca
val_set_size: 0.1
adapter: qlora
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_modules: [q_proj, v_proj]
sequence_len: 2048
sample_packing: true
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 3
lr_scheduler: cosine
learning_rate: 2e-4
warmup_ratio: 0.03
gradient_checkpointing: true
flash_attention: true
"#,
    );
    holds(
        &text,
        &[
            "source \"data/train.jsonl\"",
            "epochs 3",
            "batch-size 8",
            "learning-rate 0.0002",
            "rank=32",
            "alpha=16",
            "targets \"q_proj\" \"v_proj\"",
            "max-length tokens=2048",
        ],
    );
    holds(&text, &["NousResearch/Llama-3.2-1B", "sample_packing: true", "flash_attention: true", "load_in_4bit: true", "QLoRA"]);
}

#[test]
fn a_config_of_llama_factory() {
    let text = imported(
        "llama.yaml",
        r#"
model_name_or_path: Qwen/Qwen3-0.6B
stage: dpo
do_train: true
finetuning_type: lora
lora_target: all
lora_rank: 8
pref_beta: 0.1
dataset: dpo_en_demo
template: qwen
cutoff_len: 2048
max_samples: 1000
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 5.0e-6
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
output_dir: saves/x
"#,
    );
    holds(
        &text,
        &["method \"dpo\"", "beta 0.1", "batch-size 8", "learning-rate 0.000005", "sample rows=1000", "preference", "bf16: true", "output_dir", "template"],
    );
}

#[test]
fn a_pipeline_of_dvc() {
    let text = imported(
        "dvc.yaml",
        r#"
stages:
  prepare:
    cmd: python prepare.py data/raw.csv
    deps: [data/raw.csv, prepare.py]
    params: [prepare.seed]
    outs:
      - data/clean.csv:
          cache: false
  train:
    matrix:
      rank: [4, 8]
    cmd: python train.py --rank ${item.rank} --out model-${item.rank}
    deps: [data/clean.csv]
    outs: ["model-${item.rank}"]
    metrics: ["metrics-${item.rank}.json"]
    frozen: true
vars:
  - base: 3
"#,
    );
    holds(
        &text,
        &["input \"data/raw.csv\"", "output \"data/clean.csv\"", "input \"params.yaml\"", "matrix", "rank 4 8", "${param.rank}", "frozen", "vars.0.base: 3"],
    );
}

#[test]
fn what_is_none_of_these_is_told() {
    let workspace = Workspace::new();
    workspace.write("x.yaml", "a: 1\n");
    let done = workspace.retune(&["import", "x.yaml"]);
    assert!(done.code == 2 && done.said().contains("promptfoo"), "{}", done.stderr);
    workspace.write("y.yaml", "- [");
    assert_eq!(workspace.retune(&["import", "y.yaml"]).code, 2);
    assert_eq!(workspace.retune(&["import", "nowhere.json"]).code, 1);
    workspace.write("dvc.yaml", "stages:\n  a:\n    cmd: echo x\n");
    assert!(workspace.retune(&["import", "dvc.yaml"]).stdout.contains("exec \"a\""));
    workspace.write("p.kdl", "mine");
    assert_eq!(workspace.retune(&["import", "dvc.yaml", "--to", "p.kdl"]).code, 1);
    assert_eq!(workspace.read("p.kdl"), "mine");
}
