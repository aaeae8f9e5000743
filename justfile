# What CI runs.
ci:
    bash .ci/run

# Format, lint, document, test.
check:
    cargo fmt --all --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
    cargo test

# Licences and advisories of the dependencies.
deny:
    cargo deny check

# Write the sample data of pipelines/support-router.kdl anew.
support-data:
    cargo run --release --example support_data

# Make builtin:tiny anew: tokenizer and weights (ten minutes on two cores).
tiny-base:
    cargo run --release --example tiny_base

# The sample pipeline, from nothing to a deployed model.
demo:
    cargo run --release -- run pipelines/support-router.kdl
