//! The local engine as a user meets it: models in folders and files, methods, steps that are looked at, and what goes wrong.

mod common;

use std::collections::BTreeMap;

use common::Workspace;
use retune::model::{
    Architecture, Base, CheckpointPlace, ExportFormat, Lessons, LoraShape, ModelError, Recorded, Sample, Tuning, TuningMethod, Weights, base, tune,
};
use retune::provider::{ModelCard, ModelHandle, Silent};
use serde_json::{Value, json};

const COLOURS: [&str; 4] = ["red", "green", "blue", "yellow"];

/// `builtin:tiny` as files of others: a folder, and GGUF files of two precisions.
fn copies(workspace: &Workspace) {
    let card = ModelCard { provider: "local".into(), base: "builtin:tiny".into(), name: String::new(), digest: None };
    let handle = ModelHandle { card, files: BTreeMap::new() };
    for (format, place) in
        [(ExportFormat::Safetensors, "models/tiny/"), (ExportFormat::Gguf, "models/tiny.gguf"), (ExportFormat::GgufEight, "models/small.gguf")]
    {
        for (name, bytes) in format.files(&handle, workspace.path()).expect("it is written") {
            let path = workspace.path().join(format!("{place}{name}"));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, bytes).expect("it can be written");
        }
    }
}

fn pipeline(model: &str, method: &str) -> String {
    format!(
        "pipeline \"p\"\ncollect \"rows\" {{\n    source \"rows.csv\"\n}}\nprepare \"chat\" {{\n    from \"rows\"\n    chat {{\n        system \"Name the colour.\"\n        user \"{{{{ text }}}}\"\n        assistant \"{{{{ answer }}}}\"\n    }}\n    split train=0.8 validation=0.1 test=0.1 key=\"text\"\n}}\ntrain \"model\" {{\n    data \"chat\"\n    provider \"local\"\n    model \"{model}\"\n    method \"supervised\" {{\n{method}\n    }}\n    seed 3\n}}\nevaluate \"quality\" {{\n    model \"model\"\n    baseline \"{model}\"\n    data \"chat\" split=\"test\"\n    grader \"exact-match\"\n}}\n"
    )
}

const METHOD: &str = "        epochs 3\n        batch-size 8\n        learning-rate 3e-3\n        lora rank=4 alpha=8";

fn workspace(model: &str, method: &str) -> Workspace {
    let workspace = Workspace::new();
    let row = |at: usize| format!("\"the thing, which is number {at}, is {}\",{}\n", COLOURS[at * 7 % 4], COLOURS[at * 7 % 4]);
    workspace.write("rows.csv", format!("text,answer\n{}", (0..120).map(row).collect::<String>()));
    workspace.write("p.kdl", pipeline(model, method));
    copies(&workspace);
    workspace
}

fn numbers(base: &Base) -> Vec<f32> {
    base.parameters().expect("it has some").to_weights().values
}

/// Changes a JSON file of the copied folder.
fn edit(workspace: &Workspace, name: &str, change: impl FnOnce(&mut Value)) {
    let path = workspace.path().join("models/tiny").join(name);
    let mut value = serde_json::from_slice(&std::fs::read(&path).expect("it is there")).expect("JSON");
    change(&mut value);
    std::fs::write(&path, value.to_string()).expect("it can be written");
}

fn adapter(workspace: &Workspace) -> Vec<u8> {
    let _ = std::fs::remove_dir_all(workspace.path().join("got"));
    assert_eq!(workspace.retune(&["get", "model", "p.kdl", "--to", "got"]).code, 0);
    let found = walkdir::WalkDir::new(workspace.path().join("got")).into_iter().flatten().find(|entry| entry.file_name() == "adapter_model.safetensors");
    std::fs::read(found.expect("an adapter").path()).expect("it is there")
}

#[test]
fn a_model_in_a_folder_learns_as_the_one_that_it_is_a_copy_of() {
    let workspace = workspace("builtin:tiny", METHOD);
    workspace.run(&[], 0);
    let own = adapter(&workspace);
    workspace.write("p.kdl", pipeline("models/tiny", METHOD));
    assert_eq!(workspace.ran(&[]), ["model", "quality"]);
    assert_eq!(adapter(&workspace), own, "the same weights, tokens and masks");
    assert!(workspace.ran(&[]).is_empty());
    // What a training elsewhere set in the tokenizer cuts nothing here, and the end that the template writes ends answers whatever the config says.
    edit(&workspace, "tokenizer.json", |tokenizer| {
        tokenizer["truncation"] = json!({ "direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0 });
        tokenizer["padding"] =
            json!({ "strategy": { "Fixed": 64 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "!" });
    });
    edit(&workspace, "generation_config.json", |generation| generation["eos_token_id"] = json!(3));
    edit(&workspace, "tokenizer_config.json", |config| config["eos_token"] = json!("!"));
    edit(&workspace, "config.json", |config| config["eos_token_id"] = json!(3));
    assert_eq!(workspace.ran(&[]), ["model", "quality"]);
    assert_eq!(adapter(&workspace), own, "the same tokens and masks");
    // The folder is an input: another tokenizer or template in it is another model.
    let template = workspace.path().join("models/tiny/tokenizer_config.json");
    let text = std::fs::read_to_string(&template).expect("it is there").replace("\"model_max_length\":1024", "\"model_max_length\":1000");
    std::fs::write(&template, text).expect("it can be written");
    assert_eq!(workspace.ran(&[]), ["model", "quality"]);
}

#[test]
fn a_gguf_file_is_the_model_that_was_written_to_it() {
    let workspace = workspace("models/tiny.gguf", METHOD);
    workspace.run(&[], 0);
    assert!(workspace.retune(&["show", "quality", "p.kdl"]).stdout.contains("accuracy"));
    let tiny = base("builtin:tiny", workspace.path()).expect("it is there");
    for (file, within) in [("models/tiny.gguf", 1e-3), ("models/small.gguf", 1e-2), ("models/tiny", 0.0)] {
        let found = base(file, workspace.path()).expect("it is read");
        assert_eq!(found.architecture, tiny.architecture, "{file}");
        let largest = numbers(&tiny).iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let off = numbers(&found).iter().zip(numbers(&tiny)).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
        assert!(off <= within * largest, "{file}: {off} off, where {largest} is the largest");
    }
    // A base that is not any more what the adapter was tuned from is not used.
    std::fs::copy(workspace.path().join("models/small.gguf"), workspace.path().join("models/tiny.gguf")).expect("it can be copied");
    workspace.write("p.kdl", pipeline("models/tiny.gguf", METHOD).replace("train \"model\" {", "train \"model\" {\n    frozen"));
    let done = workspace.retune(&["run", "p.kdl", "--force", "quality"]);
    assert!(done.code == 1 && done.stderr.contains("is not the model any more"), "{}", done.stderr);
}

#[test]
fn threads_and_memory_change_nothing_of_what_is_learnt() {
    let method = "        epochs 2\n        batch-size 16\n        decay \"linear\"\n        clip 0.5\n        lora rank=4 alpha=8 dropout=0.1 dora=#true rslora=#true\n        targets \"q_proj\" \"v_proj\" \"down_proj\"";
    let workspace = workspace("builtin:tiny", method);
    let mut made = Vec::new();
    for (threads, more) in [("1", ""), ("4", ""), ("2", "\n        gradient-checkpointing")] {
        workspace.write("p.kdl", pipeline("builtin:tiny", &format!("{method}{more}")));
        let done = workspace.command(&["run", "p.kdl", "--force", "model"]).env("RAYON_NUM_THREADS", threads).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        made.push(adapter(&workspace));
    }
    assert!(made[0] == made[1] && made[0] == made[2]);
}

#[test]
fn a_step_shows_the_rows_that_made_it_up() {
    let workspace = workspace("builtin:tiny", METHOD);
    assert!(workspace.retune(&["inspect", "model", "p.kdl", "--step", "1"]).code == 1, "nothing is known of it yet");
    workspace.run(&[], 0);
    let shown = workspace.retune(&["inspect", "model", "p.kdl", "--step", "2"]).stdout;
    let rows = shown.lines().filter(|line| line.starts_with("row ")).count();
    assert!(rows == 8 && shown.starts_with("step 2 of ") && shown.contains("which is number"), "{shown}");
    let refused = workspace.retune(&["inspect", "model", "p.kdl", "--step", "999"]);
    assert!(refused.stderr.contains("there is no step 999"), "{}", refused.stderr);
    let refused = workspace.retune(&["inspect", "chat", "p.kdl", "--step", "1"]);
    assert!(refused.stderr.contains("is no training on this machine"), "{}", refused.stderr);
    let row = workspace.retune(&["inspect", "model", "p.kdl", "--row", "3"]).stdout;
    assert!(row.contains("learnt in brackets") && row.contains("|[<|end|>]"), "{row}");
    // A training that an alarm ends is looked at in the same way.
    workspace.write("p.kdl", pipeline("builtin:tiny", METHOD).replace("    seed 3", "    alarm \"loss\" over=0.001 then=\"stop\"\n    seed 4"));
    assert_eq!(workspace.retune(&["run", "p.kdl"]).code, 1);
    let shown = workspace.retune(&["inspect", "model", "p.kdl", "--step", "1"]).stdout;
    assert_eq!(shown.lines().filter(|line| line.starts_with("row ")).count(), 8, "{shown}");
}

#[test]
fn long_examples_are_refused_left_out_or_cut_as_is_said() {
    let long = |overflow: &str| format!("{METHOD}\n        max-length tokens=30 overflow=\"{overflow}\"");
    let workspace = workspace("builtin:tiny", &long("error"));
    let far = format!("\"{}\",red\n", "very far away ".repeat(30));
    workspace.write("rows.csv", format!("{}{far}", workspace.read("rows.csv")));
    let say = |overflow: &str| {
        pipeline("builtin:tiny", &long(overflow)).replace("train=0.8 validation=0.1 test=0.1 key=\"text\"", "train=1.0 validation=0.0 test=0.0")
    };
    workspace.write("p.kdl", say("error"));
    let done = workspace.retune(&["run", "p.kdl", "model"]);
    assert!(done.code == 1 && done.stderr.contains("more than the 30") && done.stderr.contains("overflow="), "{}", done.stderr);
    workspace.write("p.kdl", say("drop"));
    let done = workspace.retune(&["run", "p.kdl", "model"]);
    assert!(done.code == 0 && done.stderr.contains("more than 30 tokens and are left out"), "{}", done.stderr);
    // Of one that is cut before its answer begins nothing is left to learn.
    workspace.write("p.kdl", say("truncate"));
    let done = workspace.retune(&["run", "p.kdl", "model"]);
    assert!(done.code == 1 && done.stderr.contains("has nothing left"), "{}", done.stderr);
}

#[test]
fn pairs_teach_which_answer_is_better() {
    let workspace = Workspace::new();
    let row = |at: usize| format!("thing {at} is {0},{0},{1}\n", COLOURS[at * 7 % 4], COLOURS[(at * 7 + 1) % 4]);
    workspace.write("rows.csv", format!("text,better,worse\n{}", (0..120).map(row).collect::<String>()));
    workspace.write(
        "p.kdl",
        "pipeline \"p\"\ncollect \"rows\" {\n    source \"rows.csv\"\n}\nprepare \"pairs\" {\n    from \"rows\"\n    preference {\n        user \"{{ text }}\"\n        preferred \"{{ better }}\"\n        other \"{{ worse }}\"\n    }\n    split train=0.8 validation=0.2 test=0.0\n}\ntrain \"model\" {\n    data \"pairs\"\n    provider \"local\"\n    model \"builtin:tiny\"\n    method \"dpo\" {\n        epochs 4\n        batch-size 8\n        learning-rate 2e-3\n        beta 0.1\n        lora rank=4 alpha=8\n    }\n}\n",
    );
    let summary = workspace.run(&[], 0);
    let loss =
        summary["stages"].as_array().expect("stages").iter().find(|stage| stage["name"] == "model").expect("a stage")["metrics"]["validation-loss"].as_f64();
    assert!(loss.expect("it is measured") < 0.4, "{loss:?}: it begins at ln 2, where both are as likely as before");
    let row = workspace.retune(&["inspect", "model", "p.kdl", "--row", "1"]).stdout;
    assert!(row.contains("those that are better in brackets") && row.contains("those that are worse in brackets"), "{row}");
}

#[test]
fn what_is_no_model_is_said() {
    let workspace = workspace("models/none", METHOD);
    workspace.write("models/none/readme", "nothing");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("it has no config.json"), "{}", done.stderr);
    workspace.write("models/none/config.json", "{\"model_type\": \"mamba\"}");
    workspace.write("models/none/tokenizer.json", "{}");
    workspace.write("models/none/model.safetensors", "");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.stderr.contains("tokenizer.json"), "{}", done.stderr);
    for (name, content) in [("models/bad.gguf", "GGUF\u{3}"), ("models/bad.gguf", "nothing")] {
        workspace.write(name, content);
        workspace.write("p.kdl", pipeline(name, METHOD));
        let done = workspace.retune(&["run", "p.kdl"]);
        assert!(done.code == 1 && done.stderr.contains("is no model that can be used here"), "{}", done.stderr);
    }
    // A file that is cut anywhere is an error and no crash.
    let whole = std::fs::read(workspace.path().join("models/small.gguf")).expect("it is there");
    for part in [5, 40, 1000, 30_000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(workspace.path().join("models/cut.gguf"), &whole[..part]).expect("it can be written");
        assert!(base("models/cut.gguf", workspace.path()).is_err(), "{part} bytes of it");
    }
    workspace.write("p.kdl", pipeline("tinny", METHOD));
    let done = workspace.retune(&["check", "p.kdl"]);
    assert!(done.code == 2 && done.stderr.contains("folders (`models/NAME`)"), "{}", done.stderr);
    // A template for which no mask can be found.
    let template = workspace.path().join("models/tiny/tokenizer_config.json");
    let text = std::fs::read_to_string(&template).expect("it is there").replace("+ message['content'] +", "+ message['content'] | upper +");
    std::fs::write(&template, text).expect("it can be written");
    workspace.write("p.kdl", pipeline("models/tiny", METHOD));
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.stderr.contains("no loss mask can be found"), "{}", done.stderr);
}

#[test]
fn a_loss_that_is_no_number_names_its_row_and_keeps_what_was_good() {
    let workspace = Workspace::new();
    let mut weights = Weights::random(Architecture { tied: false, ..Architecture::small(20, 16, 1, 2, 24, 32) }, 1);
    // One token breaks whatever it stands in.
    weights.values[7 * 16] = f32::NAN;
    let row = |row: u32| Sample { tokens: (0..9).map(|at| if row == 11 && at == 4 { 7 } else { (row + at * at) % 7 }).collect(), learned: vec![true; 9] };
    let train = Lessons::Say((0..16).map(row).collect());
    let rows: Vec<usize> = (0..16).map(|row| row * 10).collect();
    let left = workspace.path().join("flights/one.jsonl");
    let place = CheckpointPlace { folder: workspace.path().join("kept"), every: 1000 };
    std::fs::create_dir_all(&place.folder).expect("a folder");
    let tuning = Tuning::plain(TuningMethod::Lora(LoraShape::plain(2, 4.0)), 1, 2, 1e-3);
    let recorded = Recorded { rows: &rows, left: Some(&left) };
    let failed = tune(&weights, &train, &Lessons::Say(Vec::new()), &tuning, recorded, Some(&place), &Silent).expect_err("it cannot go on");
    let ModelError::Diverged { step, blame, .. } = failed else { panic!("{failed}") };
    assert!(blame.starts_with("rows 111 (loss NaN), "), "{blame}");
    let flown = std::fs::read_to_string(&left).expect("it is left");
    assert_eq!(flown.lines().count(), step);
    assert!(flown.lines().last().expect("a step").contains("\"loss\":null"), "{flown}");
    let kept: Vec<String> =
        std::fs::read_dir(&place.folder).expect("a folder").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(kept, [format!("step-{}", step - 1)], "the state before that step");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_used() {
    let workspace = workspace("models/tiny", METHOD);
    let refused = |wanted: &str| {
        let error = base("models/tiny", workspace.path()).expect_err("it does not fit").to_string();
        assert!(error.contains(wanted), "{error}");
    };
    let weights = workspace.path().join("models/tiny/model.safetensors");
    let whole = std::fs::read(&weights).expect("it is there");
    let file = safetensors::SafeTensors::deserialize(&whole).expect("tensors");
    let bias = vec![0_u8; 192 * 4];
    let more = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![192], &bias).expect("a tensor");
    let tensors = file.tensors().into_iter().chain([("model.layers.0.self_attn.q_proj.bias".to_owned(), more)]);
    std::fs::write(&weights, safetensors::serialize(tensors, None).expect("a file")).expect("it can be written");
    refused("model.layers.0.self_attn.q_proj.bias is nothing that this engine computes with");
    std::fs::write(&weights, &whole).expect("it can be written");
    edit(&workspace, "tokenizer.json", |tokenizer| {
        let mut token = tokenizer["added_tokens"][0].clone();
        (token["id"], token["content"]) = (json!(2048), json!("<|more|>"));
        tokenizer["added_tokens"].as_array_mut().expect("a list").push(token);
    });
    refused("its tokenizer has the token 2048, and its embedding 2048 rows");
    for (name, value, wanted) in [
        ("num_hidden_layers", json!(100_000_000_000_u64), "its layers of 100000000000"),
        ("intermediate_size", json!(100_000_000_000_u64), "its width of the feed-forward block"),
        ("num_attention_heads", json!(400), "heads of width"),
        ("num_key_value_heads", json!(5), "and 5 of keys"),
    ] {
        let mut before = Value::Null;
        edit(&workspace, "config.json", |config| {
            before = config[name].clone();
            config[name] = value;
            if name == "num_attention_heads" {
                config.as_object_mut().expect("an object").remove("head_dim");
            }
        });
        refused(wanted);
        edit(&workspace, "config.json", |config| config[name] = before);
    }
}

/// A pipeline that trains a copied folder from random weights on whole conversations, and deploys what came of it.
fn from_scratch(method: &str) -> String {
    pipeline("models/tiny", method)
        + "deploy \"here\" {\n    model \"model\"\n    requires \"quality\"\n    alias \"blank\"\n    export \"out/half\" format=\"safetensors-bf16\"\n    export \"out/whole\" format=\"safetensors\"\n}\n"
}

const SCRATCH: &str = "        from-scratch\n        train-on-inputs\n        epochs 4\n        batch-size 8\n        learning-rate 3e-3";

#[test]
fn a_model_without_weights_is_trained_from_random_ones() {
    let workspace = workspace("models/tiny", METHOD);
    std::fs::remove_file(workspace.path().join("models/tiny/model.safetensors")).expect("it is there");
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.said().contains("has no weights") && done.said().contains("put its model.safetensors there"), "{}", done.stderr);
    let text = from_scratch(SCRATCH).replace("    baseline \"models/tiny\"\n", "");
    workspace.write("p.kdl", &text);
    let summary = workspace.run(&[], 0);
    let figure = |name: &str| {
        let stages = summary["stages"].as_array().expect("stages").iter();
        stages.clone().find(|stage| stage["name"] == "model").expect("a stage")["metrics"][name].as_f64().expect("it is measured")
    };
    assert!(figure("validation-loss") < 5.0, "ln 2048 is 7.6: {}", figure("validation-loss"));
    // All that is said is learnt, by the messages and the tokens around them.
    let row = workspace.retune(&["inspect", "model", "p.kdl", "--row", "1"]).stdout;
    assert!(row.contains("[<|system|>]") && row.contains("[<|end|>]") && !row.contains("|<|"), "{row}");
    // Half the bytes hold the same model, nearly.
    let [half, whole] = ["out/half", "out/whole"].map(|place| base(place, workspace.path()).expect("it is read"));
    let [half, whole] = [&half, &whole].map(|base| numbers(base));
    let off = half.iter().zip(&whole).map(|(a, b)| (a - b).abs() / b.abs().max(1e-6)).fold(0.0_f32, f32::max);
    assert!(off > 0.0 && off <= 1.0 / 256.0, "{off}");
    // Another seed begins with other weights, and what is learnt of a conversation is a part of the fingerprint.
    workspace.write("p.kdl", text.replace("seed 3", "seed 4"));
    assert_eq!(workspace.ran(&[]), ["model", "quality", "here"]);
    workspace.write("p.kdl", text.replace("        train-on-inputs\n", ""));
    assert_eq!(workspace.ran(&[]), ["model", "quality", "here"]);
    let row = workspace.retune(&["inspect", "model", "p.kdl", "--row", "1"]).stdout;
    assert!(row.contains("|<|assistant|>|["), "{row}");
    workspace.write("p.kdl", text.replace("provider \"local\"\n    model \"models/tiny\"", "provider \"openai\"\n    model \"gpt-4.1-nano-2025-04-14\""));
    let done = workspace.retune(&["check", "p.kdl"]);
    assert!(done.code == 2 && done.said().contains("tunes models that it has"), "{}", done.stderr);
    for more in ["\n        lora rank=4 alpha=8", "\n        from-scratch"] {
        workspace.write("p.kdl", text.replace("        batch-size 8", &format!("        batch-size 8{more}")));
        assert_eq!(workspace.retune(&["check", "p.kdl"]).code, 2, "{more}");
    }
}

#[test]
fn a_copy_in_which_nothing_is_left_of_what_was_learnt_is_not_put_in_its_place() {
    let method = METHOD.replace("learning-rate 3e-3", "learning-rate 1e-9");
    let workspace = workspace("builtin:tiny", &method);
    let text = pipeline("builtin:tiny", &method)
        + "deploy \"here\" {\n    model \"model\"\n    requires \"quality\"\n    alias \"tiny\"\n    export \"out/model.gguf\" format=\"gguf-q8_0\"\n}\n";
    workspace.write("p.kdl", &text);
    let done = workspace.retune(&["run", "p.kdl"]);
    assert!(done.code == 1 && done.said().contains("as far from the model as from its base"), "{}", done.stderr);
    assert_eq!(std::fs::read_dir(workspace.path().join("out")).expect("a folder").count(), 0, "no half of it is left");
    assert!(!workspace.path().join("deployments/tiny.kdl").exists(), "and nobody is sent to it");
}

#[test]
fn a_copy_that_says_something_else_is_none() {
    let workspace = workspace("builtin:tiny", METHOD);
    let card = ModelCard { provider: "local".into(), base: "builtin:tiny".into(), name: String::new(), digest: None };
    let handle = ModelHandle { card, files: BTreeMap::new() };
    let copies = [(ExportFormat::Safetensors, "models/tiny"), (ExportFormat::Gguf, "models/tiny.gguf"), (ExportFormat::GgufEight, "models/small.gguf")];
    for (format, place) in copies {
        let place = workspace.path().join(place);
        format.prove(&place, &handle, workspace.path()).expect("it is the model");
        let file = if place.is_dir() { place.join("model.safetensors") } else { place.clone() };
        let mut bytes = std::fs::read(&file).expect("it is there");
        // The last quarter is weights in all of them.
        let from = bytes.len() / 4 * 3;
        bytes[from..].fill(0);
        std::fs::write(&file, bytes).expect("it can be written");
        let error = format.prove(&place, &handle, workspace.path()).expect_err(&file.display().to_string());
        assert!(matches!(error, ModelError::OtherCopy { .. }), "{error}");
    }
}
