#!/usr/bin/env bash
# Measures one NVIDIA GPU for a calibration, in under nine minutes: kernels, then training steps of vanilla, low-rank, Linformer, Performer,
# linear, local and fused attention.
#
#   measurements/measure_gpu.sh OUT [LOWCARB]
#
# LOWCARB is a lowcarb built with `--features cuda`, the one on the path where none is named. Training steps need python3 with PyTorch and CUDA;
# without it the kernels alone are measured. Writes sessions to OUT/kernels and OUT/models, their rows to OUT/kernels.csv and OUT/runs.csv.
# `lowcarb calibrate OUT/kernels OUT/models --out hardware_profiles/calibrations` then fits the model to them.
set -euo pipefail
out=${1:?measure_gpu.sh OUT [LOWCARB]}
lowcarb=${2:-lowcarb}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$out"

case_of() { # ID MODEL BATCH LENGTH PRECISION [KEY=VALUE...]
    local id=$1 model=$2 batch=$3 length=$4 precision=$5 set=()
    shift 5
    for value in "embedding.positions.length=$length" "$@"; do set+=(--set "$value"); done
    # The script names the case's phase by its key `id`.
    "$lowcarb" inspect "$model" --batch "$batch" --seq-len "$length" --precision "$precision" "${set[@]}" --format json | sed "1,/{/s/{/{ \"id\": \"$id\",/"
}

cases() {
    local fused=attention.implementation=fused rank length
    for rank in 256 128 64; do
        case_of "lrt-r$rank-b64-n128" bert-base 64 128 bf16 linear.rank=$rank
        case_of "lrt-r$rank-b16-n512" bert-base 16 512 bf16 linear.rank=$rank
    done
    case_of bert-b64-n128 bert-base 64 128 bf16
    case_of bert-b16-n512 bert-base 16 512 bf16
    for length in 128 256; do
        case_of "linformer-k$length-n512" bert-base 16 512 bf16 "attention={ kind = \"linformer\", linformer = { projected_length = $length, sharing = \"layerwise\" } }"
    done
    for shape in "8 1024" "2 4096"; do
        read -r batch length <<< "$shape"
        case_of "bert-n$length" bert-base "$batch" "$length" bf16
        case_of "fused-n$length" bert-base "$batch" "$length" bf16 "$fused"
        case_of "linformer-n$length" bert-base "$batch" "$length" bf16 'attention={ kind = "linformer", linformer = { projected_length = 256 } }'
        case_of "performer-n$length" bert-base "$batch" "$length" bf16 'attention={ kind = "performer", performer = { features = 256 } }'
        case_of "linear-n$length" bert-base "$batch" "$length" bf16 'attention={ kind = "linear" }'
        case_of "local-n$length" bert-base "$batch" "$length" bf16 'attention={ kind = "local", local = { window = 128 } }'
    done
    case_of fused-b64-n128 bert-base 64 128 bf16 "$fused"
    case_of fused-b16-n512 bert-base 16 512 bf16 "$fused"
    case_of bert-fp32 bert-base 16 512 fp32
    case_of bert-tf32 bert-base 16 512 tf32
    case_of lrt-fp32 bert-base 16 512 fp32 linear.rank=256
    case_of bert-b1 bert-base 1 128 bf16
    case_of bert-b8 bert-base 8 128 bf16
    case_of bert-b128 bert-base 128 512 bf16
    case_of bert-large bert-large 16 512 bf16
    case_of bert-large-fused bert-large 16 512 bf16 "$fused"
    case_of bert-large-lrt bert-large 16 512 bf16 linear.rank=256 "$fused"
    case_of gpt2-n1024 gpt2 8 1024 bf16 "$fused"
    case_of gpt2-eager gpt2 8 1024 bf16
}

echo "measure_gpu: kernels, about four minutes" >&2
"$lowcarb" measure --out "$out/kernels" --idle 10 -- "$lowcarb" workload --seconds-per-kernel 1.6
"$lowcarb" session export "$out/kernels" --format kernels --out "$out/kernels.csv"

if python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    echo "measure_gpu: training steps, about four minutes" >&2
    cases > "$out/cases.json"
    "$lowcarb" measure --out "$out/models" --idle 10 -- python3 "$root/python/lowcarb_workload.py" "$out/cases.json" --seconds 4 --seconds-total 230
    "$lowcarb" session export "$out/models" --format runs --out "$out/runs.csv"
else
    echo "measure_gpu: python3 has no PyTorch with CUDA: training steps are not measured" >&2
fi
