#!/usr/bin/env bash
# Predictions a second on one core, and the time of a full calibration of all shipped tables, every regime held out.
#
#   benches/calibration.sh
#
# Needs Rust. A table of some 10,000 rows is the shipped one of vTrain's single node, repeated.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
cargo build --quiet --release
lowcarb=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/lowcarb

table=measurements/runs/vtrain_single.csv
head -n 1 "$table" > "$work/table.csv"
for _ in $(seq 11); do tail -n +2 "$table" >> "$work/table.csv"; done
rows=$(($(wc -l < "$work/table.csv") - 1))

# User seconds are those of the core, whatever else the machine does.
TIMEFORMAT=%U
seconds=$( { time "$lowcarb" predict "$work/table.csv" > "$work/predicted.csv"; } 2>&1 )
[ "$(wc -l < "$work/predicted.csv")" -eq $((rows + 1)) ]
awk -v r="$rows" -v s="$seconds" 'BEGIN { printf "%d predictions in %.2f s of one core: %.0f a second (bar: 10,000)\n", r, s, r / s }'

TIMEFORMAT='%R %U'
read -r wall core < <( { time "$lowcarb" calibrate measurements/runs/*.csv --out "$work/made" > "$work/table" 2> "$work/talk"; } 2>&1 )
awk -v w="$wall" -v c="$core" -v n="$(nproc)" 'BEGIN { printf "all calibrations, every regime held out: %.1f s on %d cores, %.1f s of one (bar: 60 s)\n", w, n, c }'
