#!/usr/bin/env bash
# Runs the five pipelines from nothing: all gates hold, and the second run has nothing to do.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# What marks a workspace.
mkdir "$folder/.retune"
cp -r "$root/pipelines" "$folder/pipelines"
rm -f "$folder"/pipelines/*.lock.kdl
cd "$folder"
for name in support-router medical-coder legal-clauses tutor brand-voice; do
    "$root/target/release/retune" run --quiet "pipelines/$name.kdl"
    "$root/target/release/retune" run --locked "pipelines/$name.kdl"
    "$root/target/release/retune" metrics "pipelines/$name.kdl"
done
