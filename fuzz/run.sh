#!/usr/bin/env bash
# Builds the target with libFuzzer's coverage on a stable toolchain and runs it: fuzz/run.sh [SECONDS], 300 if not said.
set -euo pipefail
cd "$(dirname "$0")/.."
bash fuzz/seed.sh
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks --cfg fuzzing"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-fuzz/target}
cargo build --release --manifest-path fuzz/Cargo.toml --target "$target"
mkdir -p fuzz/artifacts
"$CARGO_TARGET_DIR/$target/release/documents" fuzz/corpus/documents -dict=fuzz/documents.dict -max_total_time="${1:-300}" \
    -rss_limit_mb=2048 -timeout=10 -max_len=8192 -artifact_prefix=fuzz/artifacts/ -print_final_stats=1
