//! Every field of the language: a change of it changes the fingerprint, or it is listed here as one that must not.

use std::collections::{BTreeMap, BTreeSet};

use retune::config::{Kind, Overrides, Setting};
use retune::engine::{NodeInput, Recipe};
use retune::graph::NodeId;
use retune::stage::LANGUAGE;

const ALL: &str = r#"pipeline "p"
provider "house" {
    api "openai"
    base-url "http://127.0.0.1:9/v1"
    key (secret)"HOUSE_KEY"
}
collect "rows" {
    source "t.csv" blake3="0000000000000000000000000000000000000000000000000000000000000000" format="csv" delimiter=";" encoding="latin1"
    fields others="keep" {
        field "text" from="body" type="text" optional=#true
    }
}
collect "others" {
    source "u.csv"
}
collect "elsewhere" {
    refresh "every" "24h"
    source "postgres://me@host/base" {
        query "SELECT 1 AS text"
        password (secret)"PG_PASSWORD"
        refresh "every" "12h"
    }
    source "https://host/data.csv" largest="3MB" {
        token (secret)"WEB_TOKEN"
    }
    source "stored:openai" {
        asked "gpt-a"
        metadata "asked-for" "training"
    }
    source "command:cat rows" format="jsonl" {
        env "PATH"
    }
}
prepare "chat" {
    from "rows"
    normalize unicode="nfc" whitespace=#true control=#true
    fix "roles" "weights" provider="together"
    filter "id != 1"
    map {
        field "made" "{{ id }}"
        without "gone"
    }
    redact "email" "phone" how="hash" key=(secret)"REDACT_KEY"
    deduplicate "near" key="text" threshold=0.8 keep="best" by="score"
    language "en" "de" field="text" confidence=0.5
    quality field="text" gopher=#true min-words=1 max-words=99 min-word-length=1 max-word-length=20 symbols=0.5 alphabetic=0.1 repeated-lines=0.9 repeated-words=0.8
    sample rows=1000 seed=11
    balance by="team" ratio=2 most=50 seed=12
    chat {
        system "Be brief."
        user "{{ text }}"
        assistant "{{ team }}" trim=#true
    }
    limit tokens=100 of="builtin:tiny" tokenizer="tok.json" overflow="drop"
    decontaminate against="bench.jsonl" how="drop" words=13 share=0.5
    split train=0.5 validation=0.25 test=0.25 key="text" seed=1 stratify="team" near=0.75
    slice by="channel"
    slice by="team"
    slice by="area"
    expect "rows" min=1 max=900 then="fail"
}
prepare "paired" {
    from "rows"
    from "others"
    mix 2.0 1.0 seed=13
    sample share=0.75
    preference {
        system "Be kind."
        user "P: {{ text }}"
        preferred "{{ good }}" trim=#true
        other "{{ bad }}" trim=#true
    }
}
prepare "judged" {
    from "rows"
    reinforcement {
        system "Be right."
        user "R: {{ text }}"
        field "wanted" "{{ wanted }}"
    }
}
prepare "texts" {
    from "rows"
    completion {
        prompt "C: {{ text }}"
        completion "{{ more }}" trim=#true
    }
}
prepare "ready" {
    from "rows"
    passthrough form="chat"
}
prepare "spare" {
    from "others"
    chat {
        user "{{ text }}"
        assistant "{{ team }}"
    }
    split
    slice by="team"
    slice by="area"
}
train "model" {
    data "chat"
    provider "local"
    model "builtin:tiny"
    method "supervised" {
        epochs 2
        batch-size 8
        learning-rate 0.001
        warmup 0.1
        weight-decay 0.01
        decay "linear"
        clip 0.5
        lora rank=4 alpha=8 dropout=0.1 rslora=#false dora=#false
        targets "q_proj" "v_proj"
        max-length tokens=512 overflow="error"
        gradient-checkpointing
    }
    seed 3
    checkpoints "kept" every=10
}
train "second" {
    data "chat"
    provider "house"
    model "some-model"
    method "supervised" {
        epochs 1
        rate-multiplier 0.5
    }
    suffix "mine"
    early-stop patience=3 delta=0.1
    alarm "loss" over=9.0 then="warn"
    report "wandb" project="tuning" entity="us"
}
train "pairs" {
    examples "t.csv"
    validation "in.txt"
    provider "house"
    model "pair-model"
    method "dpo" {
        epochs "auto"
        beta 0.1
    }
}
train "graded" {
    examples "in.txt"
    provider "house"
    model "graded-model"
    method "reinforcement" {
        epochs 2
        grader "grader.json"
        effort "low"
        compute-multiplier 1.5
        eval-interval 5
        eval-samples 3
    }
}
evaluate "quality" {
    model "model"
    baseline "builtin:tiny"
    provider "local"
    data "chat" split="test"
    generate max-tokens=8 batch=#false temperature=0.5 samples=2
    grader "exact-match" ignore-case=#false
    grader "contains" value="x" name="has"
    grader "json" schema="{}" compare="whole"
    grader "number" tolerance=0.1
    grader "similarity" by="bleu"
    grader "length" of="words" min=1 max=9
    grader "refusal" expected=#false
    grader "judge" rubric="It is kind." model="gpt-4.1" provider="openai" votes=3
    grader "command" run="cat" input="in.txt"
    grader "weighted" {
        grader "label" field="team" weight=2
        grader "exact-match"
    }
    slice by="team"
    cluster by="team"
    gate "accuracy" min=0.1 max=0.9
    gate "accuracy" over="baseline" confidence=0.9 margin=0.01 inconclusive="ask"
    suite "kept" {
        data "chat" split="validation"
        grader "exact-match" name="right"
        slice by="area"
        cluster by="area"
        gate "right" min=0.3
    }
}
evaluate "another" {
    model "model"
    data "chat"
    grader "exact-match"
}
deploy "production" {
    model "model"
    requires "quality"
    alias "p"
    target "deploy/model.env"
    export "deploy/model.gguf" format="gguf"
    export "deploy/other.gguf" format="gguf"
    target "deploy/Modelfile" format="ollama" copy="deploy/model.gguf"
    webhook "https://example.com/hook" secret=(secret)"HOOK_SECRET"
    azure "front" subscription="s" resource-group="g" account="a" token=(secret)"AZURE_TOKEN" sku="Standard" capacity=2 management="https://example.com"
    canary percent=10 errors=0.02 slower=1.5 worse=0.05 confidence=0.95 answers=500 {
        grader "json"
    }
    outlives "90d"
}
deploy "checked" {
    model "model"
    requires "another"
    alias "q"
    live-check questions=3 agreement=0.5 provider="openai"
    export "deploy/copy" format="safetensors"
    target "deploy/litellm.yaml" format="litellm" gateway="http://127.0.0.1:1/v1"
    shadow percent=50 {
        grader "length" max=9
    }
    card {
        intended-use "x"
        limits "y"
        license "z"
        contact "w"
    }
}
exec "tool" {
    run "cat in.txt > out.txt"
    input "in.txt"
    output "out.txt"
    metrics "m.json"
    env "FIELDS_TEST_ONE"
    knob "FIELDS_TEST_KNOB"
    directory "sub"
    sandbox "on"
    checkpoints "steps"
    deltas "files"
    timeout "90m"
    retry 2 delay="5s"
    resources cpu=1 memory="1GiB" gpu=0
    frozen
}
exec "words" {
    run "cat" "-n"
    always
}
exec "sized" {
    matrix {
        size 1 2 3
        tint 5
        exclude size=2
        only size=1
        only size=2
    }
    run "echo ${param.size} ${param.tint} > sized"
    output "sized"
    budget usd=5.0 tokens=6000
}
select "best" {
    from "second"
    from "pairs"
    by "train-loss"
    goal "min"
    keep 1
}
"#;

/// What a change of a field does to the keys of its stage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Must {
    Differ,
    Stay,
}
use Must::{Differ, Stay};

/// Path of the field, how it is written, how it is changed.
const CHANGES: &[(&str, &str, &str, Must)] = &[
    ("collect.name", "collect \"rows\"", "collect \"lines\"", Stay),
    ("collect.source.path", "source \"t.csv\"", "source \"u.csv\"", Differ),
    // A pin is a check: what counts is the content that the file has.
    ("collect.source.blake3", "blake3=\"00", "blake3=\"11", Stay),
    ("collect.source.format", "format=\"csv\"", "format=\"tsv\"", Differ),
    ("collect.source.delimiter", "delimiter=\";\"", "delimiter=\"|\"", Differ),
    ("collect.source.encoding", "encoding=\"latin1\"", "encoding=\"utf-16le\"", Differ),
    ("collect.source.largest", "largest=\"3MB\"", "largest=\"4MB\"", Stay),
    ("collect.refresh.mode", "refresh \"every\" \"24h\"", "refresh \"always\"", Stay),
    ("collect.refresh.time", "\"24h\"", "\"25h\"", Stay),
    ("collect.source.refresh.mode", "refresh \"every\" \"12h\"", "refresh \"always\"", Stay),
    ("collect.source.refresh.time", "\"12h\"", "\"13h\"", Stay),
    ("collect.source.query.sql", "SELECT 1 AS text", "SELECT 2 AS text", Differ),
    ("collect.source.password.secret", "PG_PASSWORD", "OTHER_PASSWORD", Stay),
    ("collect.source.token.secret", "WEB_TOKEN", "OTHER_TOKEN", Stay),
    ("collect.source.asked.model", "asked \"gpt-a\"", "asked \"gpt-b\"", Differ),
    ("collect.source.metadata.key", "asked-for", "meant-for", Differ),
    ("collect.source.metadata.value", "\"training\"", "\"testing\"", Differ),
    ("collect.source.env.name", "env \"PATH\"\n    }\n}\nprepare", "env \"HOME\"\n    }\n}\nprepare", Differ),
    ("collect.fields.others", "others=\"keep\"", "others=\"drop\"", Differ),
    ("collect.fields.field.name", "field \"text\" from", "field \"words\" from", Differ),
    ("collect.fields.field.from", "from=\"body\"", "from=\"content\"", Differ),
    ("collect.fields.field.type", "type=\"text\"", "type=\"any\"", Differ),
    ("collect.fields.field.optional", "optional=#true", "optional=#false", Differ),
    ("prepare.name", "prepare \"chat\"", "prepare \"talk\"", Stay),
    ("prepare.from.stage", "from \"rows\"", "from \"others\"", Differ),
    ("prepare.normalize.control", "control=#true", "control=#false", Differ),
    ("prepare.fix.what", "fix \"roles\"", "fix \"parts\"", Differ),
    ("prepare.fix.more", "\"weights\" provider", "\"tools\" provider", Differ),
    ("prepare.fix.provider", "provider=\"together\"", "provider=\"azure\"", Differ),
    ("prepare.filter.expression", "id != 1", "id != 2", Differ),
    ("prepare.map.field.name", "field \"made\"", "field \"built\"", Differ),
    ("prepare.map.field.template", "\"{{ id }}\"", "\"{{ id }}!\"", Differ),
    ("prepare.map.without.name", "without \"gone\"", "without \"left\"", Differ),
    ("prepare.redact.what", "redact \"email\"", "redact \"ip\"", Differ),
    ("prepare.redact.more", "\"phone\" how", "\"card\" how", Differ),
    ("prepare.redact.how", "how=\"hash\" key=(secret)\"REDACT_KEY\"", "how=\"mask\"", Differ),
    ("prepare.redact.key", "REDACT_KEY", "OTHER_KEY", Stay),
    ("prepare.deduplicate.how", "\"near\" key=\"text\" threshold=0.8", "\"exact\" key=\"text\"", Differ),
    ("prepare.deduplicate.threshold", "threshold=0.8", "threshold=0.9", Differ),
    ("prepare.deduplicate.keep", "keep=\"best\" by=\"score\"", "keep=\"longest\"", Differ),
    ("prepare.deduplicate.by", "by=\"score\"", "by=\"votes\"", Differ),
    ("prepare.language.code", "language \"en\"", "language \"fr\"", Differ),
    ("prepare.language.more", "\"de\" field", "\"nl\" field", Differ),
    ("prepare.language.field", "\"de\" field=\"text\"", "\"de\" field=\"id\"", Differ),
    ("prepare.language.confidence", "confidence=0.5", "confidence=0.6", Differ),
    ("prepare.quality.field", "quality field=\"text\"", "quality field=\"id\"", Differ),
    ("prepare.quality.gopher", "gopher=#true", "gopher=#false", Differ),
    ("prepare.quality.min-words", "min-words=1", "min-words=2", Differ),
    ("prepare.quality.max-words", "max-words=99", "max-words=98", Differ),
    ("prepare.quality.min-word-length", "min-word-length=1", "min-word-length=2", Differ),
    ("prepare.quality.max-word-length", "max-word-length=20", "max-word-length=21", Differ),
    ("prepare.quality.symbols", "symbols=0.5", "symbols=0.6", Differ),
    ("prepare.quality.alphabetic", "alphabetic=0.1", "alphabetic=0.2", Differ),
    ("prepare.quality.repeated-lines", "repeated-lines=0.9", "repeated-lines=0.8", Differ),
    ("prepare.quality.repeated-words", "repeated-words=0.8", "repeated-words=0.7", Differ),
    ("prepare.sample.rows", "rows=1000", "rows=1001", Differ),
    ("prepare.sample.seed", "seed=11", "seed=21", Differ),
    ("prepare.sample.share", "share=0.75", "share=0.5", Differ),
    ("prepare.balance.by", "balance by=\"team\"", "balance by=\"id\"", Differ),
    ("prepare.balance.ratio", "ratio=2", "ratio=3", Differ),
    ("prepare.balance.most", "most=50", "most=51", Differ),
    ("prepare.balance.seed", "seed=12", "seed=22", Differ),
    ("prepare.limit.of", "of=\"builtin:tiny\"", "of=\"gpt-4.1\"", Differ),
    ("prepare.decontaminate.against", "bench.jsonl", "other.jsonl", Differ),
    ("prepare.decontaminate.how", "how=\"drop\" words", "how=\"warn\" words", Differ),
    ("prepare.decontaminate.words", "words=13", "words=12", Differ),
    ("prepare.decontaminate.share", "words=13 share=0.5", "words=13 share=0.6", Differ),
    ("prepare.split.stratify", "stratify=\"team\"", "stratify=\"id\"", Differ),
    ("prepare.split.near", "near=0.75", "near=0.85", Differ),
    ("prepare.slice.by", "slice by=\"channel\"", "slice by=\"id\"", Differ),
    ("prepare.expect.then", "then=\"fail\"", "then=\"warn\"", Differ),
    ("prepare.mix.weight", "mix 2.0", "mix 3.0", Differ),
    ("prepare.mix.weights", "2.0 1.0", "2.0 1.5", Differ),
    ("prepare.mix.seed", "seed=13", "seed=23", Differ),
    ("prepare.preference.system.template", "Be kind.", "Be fair.", Differ),
    ("prepare.preference.user.template", "P: ", "Q: ", Differ),
    ("prepare.preference.preferred.template", "{{ good }}", "{{ better }}", Differ),
    ("prepare.preference.preferred.trim", "{{ good }}\" trim=#true", "{{ good }}\" trim=#false", Differ),
    ("prepare.preference.other.template", "{{ bad }}", "{{ worse }}", Differ),
    ("prepare.preference.other.trim", "{{ bad }}\" trim=#true", "{{ bad }}\" trim=#false", Differ),
    ("prepare.reinforcement.system.template", "Be right.", "Be wrong.", Differ),
    ("prepare.reinforcement.user.template", "R: ", "S: ", Differ),
    ("prepare.reinforcement.field.name", "field \"wanted\"", "field \"needed\"", Differ),
    ("prepare.reinforcement.field.template", "{{ wanted }}", "{{ needed }}", Differ),
    ("prepare.completion.prompt.template", "C: ", "D: ", Differ),
    ("prepare.completion.completion.template", "{{ more }}", "{{ less }}", Differ),
    ("prepare.completion.completion.trim", "{{ more }}\" trim=#true", "{{ more }}\" trim=#false", Differ),
    ("prepare.passthrough.form", "form=\"chat\"", "form=\"completion\"", Differ),
    ("prepare.normalize.unicode", "unicode=\"nfc\"", "unicode=\"nfkc\"", Differ),
    ("prepare.normalize.whitespace", "whitespace=#true", "whitespace=#false", Differ),
    ("prepare.deduplicate.key", "\"near\" key=\"text\"", "\"near\" key=\"id\"", Differ),
    ("prepare.chat.system.template", "Be brief.", "Be long.", Differ),
    ("prepare.chat.user.template", "user \"{{ text }}\"", "user \"Q: {{ text }}\"", Differ),
    ("prepare.chat.assistant.template", "assistant \"{{ team }}\"", "assistant \"A: {{ team }}\"", Differ),
    ("prepare.chat.assistant.trim", "trim=#true", "trim=#false", Differ),
    ("prepare.limit.tokens", "tokens=100", "tokens=101", Differ),
    ("prepare.limit.tokenizer", "tokenizer=\"tok.json\"", "tokenizer=\"other.json\"", Differ),
    ("prepare.limit.overflow", "overflow=\"drop\"", "overflow=\"fail\"", Differ),
    ("prepare.split.train", "train=0.5 validation=0.25", "train=0.25 validation=0.5", Differ),
    ("prepare.split.validation", "validation=0.25 test=0.25", "validation=0.125 test=0.375", Differ),
    ("prepare.split.test", "train=0.5 validation=0.25 test=0.25", "train=0.25 validation=0.25 test=0.5", Differ),
    ("prepare.split.key", "test=0.25 key=\"text\"", "test=0.25 key=\"id\"", Differ),
    ("prepare.split.seed", "seed=1", "seed=2", Differ),
    ("prepare.expect.what", "expect \"rows\"", "expect \"train\"", Differ),
    ("prepare.expect.min", "min=1 ", "min=2 ", Differ),
    ("prepare.expect.max", "max=900", "max=901", Differ),
    ("train.name", "train \"model\"", "train \"tuned\"", Stay),
    ("train.data.stage", "data \"chat\"\n    provider \"local\"\n    model \"builtin", "data \"spare\"\n    provider \"local\"\n    model \"builtin", Differ),
    ("train.provider.name", "provider \"local\"\n    model \"builtin", "provider \"house\"\n    model \"builtin", Differ),
    ("train.model.name", "model \"some-model\"", "model \"other-model\"", Differ),
    ("train.method.epochs.count", "epochs 2", "epochs 3", Differ),
    ("train.method.batch-size.count", "batch-size 8", "batch-size 9", Differ),
    ("train.method.learning-rate.rate", "learning-rate 0.001", "learning-rate 0.002", Differ),
    ("train.method.warmup.share", "warmup 0.1", "warmup 0.2", Differ),
    ("train.method.weight-decay.rate", "weight-decay 0.01", "weight-decay 0.02", Differ),
    ("train.method.lora.rank", "rank=4", "rank=5", Differ),
    ("train.method.lora.alpha", "alpha=8", "alpha=9", Differ),
    ("train.method.lora.dropout", "dropout=0.1", "dropout=0.2", Differ),
    ("train.method.lora.rslora", "rslora=#false", "rslora=#true", Differ),
    ("train.method.lora.dora", "dora=#false", "dora=#true", Differ),
    ("train.method.targets.matrix", "targets \"q_proj\"", "targets \"k_proj\"", Differ),
    ("train.method.targets.more", "\"q_proj\" \"v_proj\"", "\"q_proj\" \"o_proj\"", Differ),
    ("train.method.decay.how", "decay \"linear\"", "decay \"constant\"", Differ),
    ("train.method.clip.length", "clip 0.5", "clip 0.6", Differ),
    ("train.method.max-length.tokens", "tokens=512 overflow=\"error\"", "tokens=511 overflow=\"error\"", Differ),
    ("train.method.max-length.overflow", "tokens=512 overflow=\"error\"", "tokens=512 overflow=\"drop\"", Differ),
    ("train.seed.seed", "seed 3", "seed 4", Differ),
    ("train.method.name", "method \"dpo\" {\n        epochs \"auto\"\n        beta 0.1", "method \"supervised\" {\n        epochs \"auto\"", Differ),
    ("train.method.rate-multiplier.factor", "rate-multiplier 0.5", "rate-multiplier \"auto\"", Differ),
    ("train.method.beta.beta", "beta 0.1", "beta 0.2", Differ),
    ("train.method.grader.path", "grader \"grader.json\"", "grader \"t.csv\"", Differ),
    ("train.method.compute-multiplier.factor", "compute-multiplier 1.5", "compute-multiplier 2.5", Differ),
    ("train.method.eval-interval.steps", "eval-interval 5", "eval-interval 6", Differ),
    ("train.method.eval-samples.count", "eval-samples 3", "eval-samples 4", Differ),
    ("train.method.effort.effort", "effort \"low\"", "effort \"high\"", Differ),
    ("train.examples.path", "examples \"t.csv\"", "examples \"u.csv\"", Differ),
    ("train.validation.path", "validation \"in.txt\"", "validation \"u.csv\"", Differ),
    ("train.early-stop.patience", "patience=3", "patience=4", Differ),
    ("train.early-stop.delta", "delta=0.1", "delta=0.2", Differ),
    // What a hosted model is called, who hears of it and when it is said that it goes wrong is no part of what it learns.
    ("train.suffix.text", "suffix \"mine\"", "suffix \"yours\"", Stay),
    ("train.alarm.what", "alarm \"loss\"", "alarm \"gap\"", Stay),
    ("train.alarm.over", "over=9.0", "over=8.0", Stay),
    ("train.alarm.then", "then=\"warn\"", "then=\"stop\"", Stay),
    ("train.report.project", "project=\"tuning\"", "project=\"tuned\"", Stay),
    ("train.report.entity", "entity=\"us\"", "entity=\"them\"", Stay),
    // Where a training goes on from changes nothing.
    ("train.checkpoints.folder", "\"kept\"", "\"saved\"", Stay),
    ("train.checkpoints.every", "every=10", "every=20", Stay),
    ("evaluate.name", "evaluate \"quality\"", "evaluate \"worth\"", Stay),
    ("evaluate.model.name", "model \"model\"\n    baseline", "model \"second\"\n    baseline", Differ),
    ("evaluate.baseline.name", "baseline \"builtin:tiny\"", "baseline \"second\"", Differ),
    ("evaluate.provider.name", "provider \"local\"\n    data", "provider \"house\"\n    data", Differ),
    ("evaluate.data.stage", "data \"chat\" split", "data \"spare\" split", Differ),
    ("evaluate.data.split", "split=\"test\"", "split=\"validation\"", Differ),
    ("evaluate.generate.max-tokens", "max-tokens=8", "max-tokens=9", Differ),
    // By which way the same question comes to the same model changes nothing.
    ("evaluate.generate.batch", "batch=#false", "batch=#true", Stay),
    ("evaluate.generate.temperature", "temperature=0.5", "temperature=0.6", Differ),
    ("evaluate.generate.samples", "samples=2", "samples=3", Differ),
    ("evaluate.suite.data.stage", "data \"chat\" split=\"validation\"", "data \"spare\" split=\"validation\"", Differ),
    ("evaluate.suite.data.split", "data \"chat\" split=\"validation\"", "data \"chat\" split=\"test\"", Differ),
    ("evaluate.suite.slice.by", "slice by=\"area\"\n        cluster", "slice by=\"team\"\n        cluster", Differ),
    ("evaluate.suite.cluster.by", "cluster by=\"area\"\n        gate", "cluster by=\"team\"\n        gate", Differ),
    ("evaluate.suite.name", "suite \"kept\"", "suite \"held\"", Differ),
    ("evaluate.grader.ignore-case", "ignore-case=#false", "ignore-case=#true", Differ),
    ("evaluate.grader.kind", "grader \"contains\"", "grader \"starts-with\"", Differ),
    ("evaluate.grader.name", "name=\"has\"", "name=\"holds\"", Differ),
    ("evaluate.grader.field", "field=\"team\"", "field=\"tone\"", Differ),
    ("evaluate.grader.value", "value=\"x\"", "value=\"y\"", Differ),
    ("evaluate.grader.schema", "schema=\"{}\"", "schema=\"true\"", Differ),
    ("evaluate.grader.compare", "compare=\"whole\"", "compare=\"fields\"", Differ),
    ("evaluate.grader.tolerance", "tolerance=0.1", "tolerance=0.2", Differ),
    ("evaluate.grader.by", "by=\"bleu\"", "by=\"chrf\"", Differ),
    ("evaluate.grader.of", "of=\"words\"", "of=\"lines\"", Differ),
    ("evaluate.grader.min", "of=\"words\" min=1", "of=\"words\" min=2", Differ),
    ("evaluate.grader.max", "min=1 max=9", "min=1 max=8", Differ),
    ("evaluate.grader.rubric", "rubric=\"It is kind.\"", "rubric=\"It is rude.\"", Differ),
    ("evaluate.grader.model", "model=\"gpt-4.1\"", "model=\"gpt-4o\"", Differ),
    ("evaluate.grader.provider", "provider=\"openai\" votes", "provider=\"house\" votes", Differ),
    ("evaluate.grader.votes", "votes=3", "votes=1", Differ),
    ("evaluate.grader.run", "run=\"cat\"", "run=\"cat -u\"", Differ),
    ("evaluate.grader.input", "run=\"cat\" input=\"in.txt\"", "run=\"cat\" input=\"t.csv\"", Differ),
    ("evaluate.grader.expected", "expected=#false", "expected=#true", Differ),
    ("evaluate.grader.weight", "weight=2", "weight=3", Differ),
    ("evaluate.slice.by", "slice by=\"team\"\n    cluster", "slice by=\"area\"\n    cluster", Differ),
    ("evaluate.cluster.by", "cluster by=\"team\"", "cluster by=\"area\"", Differ),
    ("evaluate.gate.margin", "margin=0.01", "margin=0.02", Differ),
    ("evaluate.gate.inconclusive", "inconclusive=\"ask\"", "inconclusive=\"fail\"", Differ),
    ("evaluate.gate.metric", "gate \"accuracy\" min", "gate \"accuracy.gain\" min", Differ),
    ("evaluate.gate.min", "min=0.1", "min=0.2", Differ),
    ("evaluate.gate.max", "max=0.9", "max=0.8", Differ),
    ("evaluate.gate.over", " over=\"baseline\" confidence=0.9 margin=0.01", " min=0.0", Differ),
    ("evaluate.gate.confidence", "confidence=0.9", "confidence=0.8", Differ),
    ("deploy.name", "deploy \"production\"", "deploy \"live\"", Stay),
    ("deploy.model.stage", "model \"model\"\n    requires \"quality\"", "model \"second\"", Differ),
    ("deploy.requires.stage", "requires \"quality\"", "requires \"another\"", Differ),
    ("deploy.outlives.time", "outlives \"90d\"", "outlives \"30d\"", Differ),
    ("deploy.target.path", "deploy/model.env", "deploy/model.json", Differ),
    ("deploy.target.format", "format=\"litellm\" gateway=\"http://127.0.0.1:1/v1\"", "format=\"env\"", Differ),
    ("deploy.target.gateway", "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", Differ),
    ("deploy.target.copy", "copy=\"deploy/model.gguf\"", "copy=\"deploy/other.gguf\"", Differ),
    ("deploy.export.path", "\"deploy/copy\"", "\"deploy/twin\"", Differ),
    ("deploy.export.format", "format=\"safetensors\"", "format=\"peft\"", Differ),
    ("deploy.webhook.url", "example.com/hook", "example.com/other", Differ),
    ("deploy.webhook.secret", "HOOK_SECRET", "OTHER_SECRET", Stay),
    ("deploy.azure.deployment", "azure \"front\"", "azure \"back\"", Differ),
    ("deploy.azure.subscription", "subscription=\"s\"", "subscription=\"t\"", Differ),
    ("deploy.azure.resource-group", "resource-group=\"g\"", "resource-group=\"h\"", Differ),
    ("deploy.azure.account", "account=\"a\"", "account=\"b\"", Differ),
    ("deploy.azure.token", "AZURE_TOKEN", "OTHER_TOKEN", Stay),
    ("deploy.azure.sku", "sku=\"Standard\"", "sku=\"GlobalStandard\"", Differ),
    ("deploy.azure.capacity", "capacity=2", "capacity=3", Differ),
    ("deploy.azure.management", "management=\"https://example.com\"", "management=\"https://example.org\"", Differ),
    ("deploy.canary.percent", "canary percent=10", "canary percent=20", Differ),
    ("deploy.canary.errors", "errors=0.02", "errors=0.03", Differ),
    ("deploy.canary.slower", "slower=1.5", "slower=2.5", Differ),
    ("deploy.canary.worse", "worse=0.05", "worse=0.06", Differ),
    ("deploy.canary.confidence", "confidence=0.95 answers", "confidence=0.96 answers", Differ),
    ("deploy.canary.answers", "answers=500", "answers=600", Differ),
    ("deploy.shadow.percent", "shadow percent=50", "shadow percent=60", Differ),
    ("deploy.live-check.questions", "questions=3", "questions=4", Differ),
    ("deploy.live-check.agreement", "agreement=0.5", "agreement=0.6", Differ),
    ("deploy.live-check.provider", "agreement=0.5 provider=\"openai\"", "agreement=0.5", Differ),
    ("deploy.card.intended-use.text", "intended-use \"x\"", "intended-use \"u\"", Differ),
    ("deploy.card.limits.text", "limits \"y\"", "limits \"u\"", Differ),
    ("deploy.card.license.text", "license \"z\"", "license \"u\"", Differ),
    ("deploy.card.contact.text", "contact \"w\"", "contact \"u\"", Differ),
    ("deploy.alias.name", "alias \"p\"", "alias \"q\"", Differ),
    ("exec.name", "exec \"tool\"", "exec \"gear\"", Stay),
    ("exec.run.command", "run \"cat in.txt", "run \"cat -u in.txt", Differ),
    ("exec.run.arguments", "\"-n\"", "\"-b\"", Differ),
    ("exec.metrics.path", "m.json", "n.json", Differ),
    // A knob is declared to change nothing.
    ("exec.knob.variable", "FIELDS_TEST_KNOB", "FIELDS_TEST_OTHER", Stay),
    ("exec.directory.path", "directory \"sub\"", "directory \"other\"", Differ),
    ("exec.sandbox.mode", "sandbox \"on\"", "sandbox \"off\"", Differ),
    ("exec.deltas.of", "deltas \"files\"", "deltas \"rows\"", Differ),
    // When a stage is done and with what is no part of what comes out.
    ("exec.checkpoints.folder", "\"steps\"", "\"saved\"", Stay),
    ("exec.timeout.time", "\"90m\"", "\"91m\"", Stay),
    ("exec.retry.times", "retry 2", "retry 3", Stay),
    ("exec.retry.delay", "\"5s\"", "\"6s\"", Stay),
    ("exec.resources.cpu", "cpu=1", "cpu=2", Stay),
    ("exec.resources.memory", "\"1GiB\"", "\"2GiB\"", Stay),
    ("exec.resources.gpu", "gpu=0", "gpu=1", Stay),
    ("exec.budget.usd", "usd=5.0", "usd=6.0", Stay),
    ("exec.budget.tokens", "tokens=6000", "tokens=7000", Stay),
    ("exec.matrix.AXIS.value", "tint 5", "tint 6", Differ),
    ("exec.matrix.exclude.axis", "exclude size=2", "exclude size=1", Differ),
    ("exec.matrix.only.axis", "only size=1", "only size=3", Differ),
    ("select.name", "select \"best\"", "select \"top\"", Stay),
    ("select.from.stage", "from \"pairs\"", "from \"graded\"", Differ),
    ("select.by.metric", "by \"train-loss\"", "by \"validation-loss\"", Differ),
    ("select.goal.goal", "goal \"min\"", "goal \"max\"", Differ),
    // The next one is another stage, with a key of its own.
    ("select.keep.count", "keep 1", "keep 2", Differ),
    ("exec.input.path", "input \"in.txt\"", "input \"t.csv\"", Differ),
    ("exec.output.path", "output \"out.txt\"", "output \"o.txt\"", Differ),
    ("exec.env.name", "env \"FIELDS_TEST_ONE\"", "env \"PATH\"", Differ),
];

fn fields(setting: &'static Setting, path: &str, out: &mut BTreeSet<String>) {
    for slot in setting.arguments.iter().chain(setting.rest).chain(setting.properties).chain(setting.open_properties) {
        // A choice of one cannot be changed.
        if !matches!(slot.kind, Kind::Choice([_])) || slot.name == "over" {
            out.insert(format!("{path}.{}", slot.name));
        }
    }
    // A grader may hold graders.
    for child in (setting.children)().into_iter().chain(setting.open_children).filter(|child| !std::ptr::eq(*child, setting)) {
        fields(child, &format!("{path}.{}", child.name), out);
    }
}

/// What the key of an action covers. What an input holds is in the key; here all that it is made of stands for that.
fn covered(recipe: &Recipe, id: NodeId) -> String {
    let node = recipe.actions.node(id);
    let inputs = node.inputs.iter().map(|input| match input {
        NodeInput::Made { role, maker, output, part } => format!("{role} = {part:?} of {output} of ({})", covered(recipe, (*maker).into())),
        NodeInput::Files(files) => files.pattern.clone(),
    });
    std::iter::once(format!("{:?}", node.base)).chain(inputs).collect::<Vec<_>>().join("; ")
}

/// By kind: what the keys of its stages cover.
fn keys(folder: &std::path::Path, text: &str) -> BTreeMap<String, Vec<String>> {
    let path = folder.join("p.kdl");
    std::fs::write(&path, text).expect("it can be written");
    let recipe = Recipe::check(&path, &Overrides::default()).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for &id in &recipe.order {
        keys.entry(recipe.stages[recipe.actions.node(id).stage].kind.clone()).or_default().push(covered(&recipe, id));
    }
    keys.values_mut().for_each(|keys| keys.sort());
    keys
}

#[test]
fn each_field_is_in_the_fingerprint_or_is_known_not_to_be() {
    let mut all = BTreeSet::new();
    LANGUAGE.stages.iter().for_each(|stage| fields(stage, stage.name, &mut all));
    // What every kind has is tried with `exec`.
    let (exec, others): (BTreeSet<String>, BTreeSet<String>) = all.into_iter().partition(|path| path.starts_with("exec."));
    let common = ["timeout.", "retry.", "resources.", "budget.", "matrix."];
    // Graders and gates go by the same tables wherever they stand.
    let again = ["evaluate.suite.grader.", "evaluate.suite.gate.", "deploy.canary.grader.", "deploy.shadow.grader."];
    let other = |path: &String| {
        !again.iter().any(|above| path.starts_with(above)) && !common.iter().any(|name| path.split_once('.').is_some_and(|(_, rest)| rest.starts_with(name)))
    };
    let all: BTreeSet<String> = others.into_iter().filter(other).chain(exec).collect();
    let listed: BTreeSet<String> = CHANGES.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(all, listed, "the fields of the language, and those that are tried here");

    let folder = tempfile::tempdir().expect("a folder");
    let before = keys(folder.path(), ALL);
    for (path, from, to, must) in CHANGES {
        assert!(ALL.contains(from), "{path}: {from}");
        let mut text = ALL.replacen(from, to, 1);
        if path.ends_with(".name") && *must == Stay {
            // A stage of another name is named otherwise by those that use it.
            let name = |text: &str| text.split('"').nth(1).expect("a quoted name").to_owned();
            for node in ["from", "data", "model", "requires"] {
                text = text.replace(&format!("{node} \"{}\"", name(from)), &format!("{node} \"{}\"", name(to)));
            }
        }
        if *path == "evaluate.model.name" {
            // What judges another model cannot be required.
            text = text.replace("    requires \"quality\"\n", "");
        }
        let kind = path.split('.').next().expect("a kind");
        let same = keys(folder.path(), &text)[kind] == before[kind];
        assert_eq!(same, *must == Stay, "{path}: {from} -> {to}");
    }
}
