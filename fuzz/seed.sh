#!/usr/bin/env bash
# Fills fuzz/corpus/documents with the shipped documents, each behind the byte that selects its kind, and writes the
# words they are made of to fuzz/documents.dict.
set -euo pipefail
cd "$(dirname "$0")/.."

corpus=fuzz/corpus/documents
mkdir -p "$corpus"

# The selector is the byte's value modulo 6; '0' is 48, so "0" selects 0 and so on.
seed() { # SELECTOR FILE
    local name
    name=${2//\//-}
    { printf '%s' "$1"; cat "$2"; } > "$corpus/$name"
}

for file in hardware_profiles/accelerators/*.toml; do seed 0 "$file"; done
for file in hardware_profiles/nodes/*.toml; do seed 1 "$file"; done
for file in models/*.toml; do seed 2 "$file"; done
for file in hardware_profiles/*.toml; do seed 3 "$file"; done
for file in scenarios/*.toml; do seed 4 "$file"; done
for file in tests/configs/*.json; do seed 5 "$file"; done

# Short scenarios that overlay a shipped one: changes to them reach the estimate more often than changes to a long file.
short() { # NAME TEXT
    printf '4use = "bert_base_lrt"\n%s\n' "$2" > "$corpus/short-$1"
}
short sweep $'sweep = { key = "hardware.accelerators", values = [8, 64] }'
short threshold $'[threshold]\nkey = "model.linear.rank"\nsaving_percent = 30\nlow = 1\nhigh = 768'
short variant $'[[variant]]\nname = "a"\nmodel.linear.rank = 8\ntraining.precision = "fp32"'
short hardware $'[hardware]\naccelerator = "A100"\naccelerators = 3'
short training $'[training]\nsteps = 10\nphases = [{ sequence_length = 128, share = 1, micro_batch = 1 }]'
short site $'[site]\npue = 1.1\ncloud_region = "gcp/us-central1"'
short site-grid $'[site]\ngrid = "FRA"\nyear = 2022'
short model $'[model]\nwidth = 1024\nattention.heads = 16\nlinear.components = ["feed_forward"]'

# The largest sizes that are allowed one by one.
printf '2use = "bert-base"\nlinear.rank = 1\nattention.heads = 4294967296\nattention.head_width = 4294967296\n' > "$corpus/large"

# Words for the fuzzer to insert: keys, quoted values, and numbers at the ends of their ranges.
cat models/*.toml hardware_profiles/*.toml hardware_profiles/*/*.toml scenarios/*.toml |
    grep -v '^ *#' | { grep -oE '^[a-z_0-9.]+|[{,] *[a-z_0-9.]+ *=|"[A-Za-z0-9 _./%-]{1,24}"|\[\[?[a-z_.]+\]?\]' || true; } |
    sed -E 's/^[{,] *//; s/ *=$//; s/["\\]/\\&/g; s/.*/"&"/' | LC_ALL=C sort -u > fuzz/documents.dict

printf '"%s"\n' 0 -1 4294967296 9223372036854775807 1e308 1e-308 inf nan '\"\"' >> fuzz/documents.dict

echo "$(find "$corpus" -type f | wc -l) seeds in $corpus, $(wc -l < fuzz/documents.dict) words in fuzz/documents.dict"
