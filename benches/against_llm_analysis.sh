#!/usr/bin/env bash
# Wall time and peak memory of one answer, as a whole process: lowcarb against llm-analysis 0.2.2.
#
#   benches/against_llm_analysis.sh [RUNS]    both tools, alternately; 11 runs of each where not said
#   benches/against_llm_analysis.sh --build   a fresh clone to its first answer, its dependencies already downloaded
#
# lowcarb answers with its 10,000 draws of six cases in two phases; llm-analysis gives one case, one phase, no interval.
# Needs Rust, and Python 3 with venv and pip.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "${1:-}" = --build ]; then
    git clone --quiet "$root" "$work/clone"
    cd "$work/clone"
    export CARGO_TARGET_DIR=$work/target
    cargo fetch --quiet --locked
    start=$(date +%s.%N)
    cargo run --quiet --release --locked -- run bert_base_lrt > "$work/answer"
    end=$(date +%s.%N)
    [ -s "$work/answer" ]
    awk -v s="$start" -v e="$end" -v c="$(git rev-parse --short HEAD)" -v n="$(nproc)" \
        'BEGIN { printf "clone of %s to first answer: %.1f s on %d cores (bar: 150 s on 2 cores)\n", c, e - s, n }'
    exit
fi

runs=${1:-11}
echo "building lowcarb" >&2
cargo build --quiet --release --manifest-path "$root/Cargo.toml"
lowcarb=$(cd "$root" && cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/lowcarb

echo "installing llm-analysis" >&2
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check llm-analysis==0.2.2

# BERT-base in the other tool's format (Devlin et al. 2019).
cat > "$work/bert-base.json" <<'JSON'
{
    "name": "bert-base",
    "num_layers": 12,
    "n_head": 12,
    "hidden_dim": 768,
    "vocab_size": 30522,
    "max_seq_len": 512,
    "ffn_embed_dim": 3072,
    "model_type": "bert"
}
JSON

cat > "$work/measure.py" <<'PYTHON'
import os, sys, time

work, lowcarb, python, runs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
# 90 % of BERT's million steps, at 128 positions, on 64 V100 with 64 sequences each.
commands = {
    "lowcarb": [lowcarb, "run", "bert_base_lrt", "--format", "json"],
    "llm-analysis": [
        python, "-m", "llm_analysis.analysis", "train", "--model_name", work + "/bert-base.json",
        "--gpu_name", "v100-sxm-32gb", "--dtype_name", "w16a16e16", "--batch_size_per_gpu", "64", "--seq_len", "128",
        "--total_num_gpus", "64", "--total_num_tokens", str(900_000 * 64 * 64 * 128), "--flash_attn=False",
        "--flops_efficiency", "0.4",
    ],
}
# The working folder has no documents, so lowcarb uses the copies inside it.
os.chdir(work)
null = os.open(os.devnull, os.O_RDWR)


def median(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    return (ordered[half] + ordered[-half - 1]) / 2


def measure(command):
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, n) for n in range(3)])
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{command} exited with {os.waitstatus_to_exitcode(status)}")
    return wall * 1e3, usage.ru_maxrss / 1024


# A child's peak counts from its parent's size: what `true` shows is the floor of this measure, and a figure at the
# floor is only an upper bound. So this script imports little.
floor = measure(["true"])[1]
seen = {name: [] for name in commands}
for name, command in commands.items():
    measure(command)  # not counted: fills the file cache and writes Python's bytecode
for _ in range(runs):
    for name, command in commands.items():
        seen[name].append(measure(command))

print(f"{runs} runs of each, alternately; peak memory cannot show below {floor:.1f} MiB")
print(f"{'':14}{'wall, median':>14}{'range':>22}{'peak, median':>16}{'largest':>12}")
middle = {}
for name, rows in seen.items():
    walls, peaks = zip(*rows)
    middle[name] = median(walls), median(peaks)
    span = f"{min(walls):.1f} to {max(walls):.1f} ms"
    print(f"{name:14}{middle[name][0]:>11.1f} ms{span:>22}{middle[name][1]:>12.1f} MiB{max(peaks):>8.1f} MiB")
ratio = [b / a for a, b in zip(middle["lowcarb"], middle["llm-analysis"])]
print(f"llm-analysis over lowcarb: {ratio[0]:.1f} times the wall time, {ratio[1]:.1f} times the memory")
print("bars: lowcarb below 50 ms and 30 MB, at least 10 times faster")
PYTHON
python3 -I -S "$work/measure.py" "$work" "$lowcarb" "$work/venv/bin/python" "$runs"
