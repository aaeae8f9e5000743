# What CI runs.
ci:
    bash .ci/run

# Format, lint, document, test.
check:
    cargo fmt --all --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
    cargo test

# Random graphs, edits, failures and interruptions against a model: 10,000 cases (a quarter of an hour).
model:
    RETUNE_CASES=10000 cargo test --release --test model

# SIGKILL 300 times, and up to 64 processes at once (a minute).
crash:
    RETUNE_KILLS=300 RETUNE_PROCESSES=64 cargo test --release --test crash

# retune beside make, ninja, DVC, Snakemake, b3sum and git, as ratios.
peers *arguments:
    cargo build --release
    benches/peers.py {{arguments}}

# Preparing data beside DuckDB, polars, tiktoken, rensa, datasketch and presidio, as ratios.
data-peers *arguments:
    cargo build --release --bin retune --example chat_rows
    benches/data.py {{arguments}}

# Collecting from a real PostgreSQL, and from servers that speak the protocols of S3, Google and Azure.
servers:
    cargo build --release --bin retune
    tests/servers.py

# What a run does before it does anything, beside the plain work.
bench:
    cargo bench --bench engine

# The memory of an upload, and 10,000 answers beside the ideal (a minute).
hosted-speed:
    cargo bench --bench hosted

# Licences and advisories of the dependencies.
deny:
    cargo deny check

# Write the sample data of the pipelines in pipelines/ anew.
pipeline-data:
    cargo run --release --example pipeline_data

# The pages of `report` in a headless Chromium, with axe-core: wants chromium and npm (a minute).
browser:
    cargo build --release --bin retune
    tests/browser.py

# Runs the five pipelines in pipelines/ from nothing, in a folder of their own (six minutes).
pipelines:
    cargo build --release --bin retune
    tests/pipelines.sh

# The book, as pages to browse: target/book/index.html.
book:
    cargo install --locked mdbook
    mdbook build docs

# Fuzzes the language with coverage for some seconds: reading, telling places, laying out.
fuzz seconds="600":
    cargo install --locked cargo-fuzz
    mkdir -p target/fuzz-corpus
    cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none language target/fuzz-corpus tests/fuzz/corpus/language -- -max_total_time={{seconds}} -max_len=20000 -rss_limit_mb=4096 -timeout=30

# Write schemas/ and docs/reference/ anew, from the tables of the language and the types of its results.
generate:
    cargo run --example generate

# Make builtin:tiny anew: tokenizer and weights (ten minutes on two quiet cores).
tiny-base:
    cargo run --release -- run pipelines/tiny-base.kdl
    cp target/tiny-base/tiny.merges src/data/tokenizer/tiny.merges
    cp target/tiny-base/model/model.safetensors src/model/tiny.safetensors

# The sample pipeline, from nothing to a deployed model.
demo:
    cargo run --release -- run pipelines/support-router.kdl

# A remote job killed at 200 random moments of its life: it is paid for once (two minutes).
jobs:
    RETUNE_JOB_KILLS=200 cargo test --release --test hosted killed

# The same tests held to OpenAI's published description of its API as well.
openapi description:
    RETUNE_OPENAPI={{description}} cargo test --test hosted

# 10,000 requests, 64 at a time, to servers that die (a minute).
mortal:
    RETUNE_REQUESTS=10000 cargo test --release --test serve die

# OpenAI's own Python client against the gateway.
client:
    cargo build --release --bin retune
    tests/openai_client.py

# What the gateway adds to a provider's answer, in milliseconds.
gateway-speed:
    cargo build --release --bin retune
    benches/gateway.py

# promptfoo and inspect_ai evaluate an alias through the gateway; then retune beside them on the same server.
evaluators:
    cargo build --release --bin retune
    tests/evaluators.py
    benches/evaluation.py

# llama.cpp and the tokenizer of transformers on copies of a tuned model.
exports:
    cargo build --release --bin retune
    tests/exports.py

# What PyTorch, transformers and peft make of small random models, recorded anew for tests/reference.rs.
reference:
    tests/reference/record.py
    tests/reference/templates.py
    tests/reference/quantised.py

# SmolLM2-135M tuned here and run by peft, transformers and llama.cpp; `model` is its GGUF file.
weights model:
    cargo build --release --bin retune
    tests/weights.py {{model}}

# Accuracy on banking77 after the same seconds of training, beside peft; `data` holds train.csv and test.csv, `model` is SmolLM2-135M as GGUF.
banking77 data model:
    cargo build --release --bin retune
    python3 -m venv target/peers
    target/peers/bin/pip install --quiet torch transformers peft gguf
    target/peers/bin/python benches/banking77.py {{data}} {{model}}

# The local engine beside PyTorch, transformers, peft and llama.cpp; `model` is SmolLM2-135M as GGUF.
local-speed model *only:
    cargo build --release --example local_speed
    python3 -m venv target/peers
    target/peers/bin/pip install --quiet torch transformers peft gguf llama-cpp-python
    target/peers/bin/python benches/local.py {{model}} {{only}}
