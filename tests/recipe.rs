//! How `builtin:tiny` was made: the recipe in `pipelines/` is right, and goes its whole way with fewer conversations.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Workspace;

/// What `cargo test` builds beside the tests.
fn tiny_corpus() -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    test.parent().and_then(Path::parent).expect("two folders").join("examples/tiny_corpus")
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_recipe_goes_its_whole_way_and_makes_the_tokenizer_that_is_shipped() {
    let workspace = Workspace::new();
    // The tokenizer is learnt from so many of them, whatever comes after.
    let done = Command::new(tiny_corpus()).arg(workspace.path().join("target/tiny-base")).arg("60000").status().expect("cargo test builds it");
    assert!(done.success());
    assert!(workspace.read("target/tiny-base/tiny.merges") == std::fs::read_to_string(own("src/data/tokenizer/tiny.merges")).expect("it is there"));
    let recipe = std::fs::read_to_string(own("pipelines/tiny-base.kdl")).expect("it is there");
    workspace.write("p.kdl", &recipe);
    let checked = workspace.retune(&["check", "p.kdl"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    // The same stages, without the compiler and without the patience.
    let (from, to) = (recipe.find("exec \"corpus\"").expect("a stage"), recipe.find("collect \"texts\"").expect("a stage"));
    let mut short = format!("{}{}", &recipe[..from], &recipe[to..]);
    for (old, new) in [
        ("min=100000", "min=100"),
        ("min=0.5", "min=0.0"),
        ("max=3.0", "max=3000.0"),
        ("every=500", "every=5"),
        ("train=0.996 validation=0.002 test=0.002", "train=0.9 validation=0.05 test=0.05"),
    ] {
        assert_eq!(short.matches(old).count(), 1, "{old}");
        short = short.replace(old, new);
    }
    workspace.write("p.kdl", short);
    let texts = workspace.read("target/tiny-base/texts.jsonl");
    workspace.write("target/tiny-base/texts.jsonl", texts.split_inclusive('\n').take(1000).collect::<String>());
    assert_eq!(workspace.ran(&[]), ["texts", "conversations", "base", "answers", "program"]);
    let made = std::fs::read(workspace.path().join("target/tiny-base/model/model.safetensors")).expect("it is exported");
    let shipped = std::fs::read(own("src/model/tiny.safetensors")).expect("it is there");
    let shapes = |file: &[u8]| {
        let tensors = safetensors::SafeTensors::deserialize(file).expect("tensors");
        let mut shapes: Vec<String> = tensors.iter().map(|(name, tensor)| format!("{name} {:?} {:?}", tensor.dtype(), tensor.shape())).collect();
        shapes.sort();
        shapes
    };
    assert_eq!(shapes(&made), shapes(&shipped), "what the recipe makes is of the kind that is shipped");
    assert!(shipped.len() <= 8 << 20);
}
