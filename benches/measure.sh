#!/usr/bin/env bash
# What measuring costs and how near it comes: processor time, memory and delay around a child of 10 s with eight scripted GPUs, and the
# energies of scripted power against their exact integrals. Beside codecarbon where it is installed (pip install codecarbon).
#
#   benches/measure.sh [PATH-OF-CODECARBON]
#
# Needs Rust and python3. The GPUs are those of tests/fake_nvml: a library that is really loaded and does what a script says.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
cargo build --quiet --release
lowcarb=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/lowcarb
rustc --edition 2021 --crate-type cdylib -C opt-level=2 -o "$work/libfake.so" tests/fake_nvml/lib.rs
cd "$work"
python3 - "$lowcarb" "$work/libfake.so" "${1:-$(command -v codecarbon || true)}" <<'PYTHON'
import json, math, os, resource, shutil, statistics, subprocess, sys, time

lowcarb, library, codecarbon = sys.argv[1:4]


def script(devices):
    with open("script", "w") as file:
        file.write("origin %.6f\n%s\n" % (time.time(), "\n".join(devices)))


def timed(command):
    """Wall seconds, processor seconds, largest resident set in MB, what the child printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.time()
    process = subprocess.Popen(command, env=dict(os.environ, FAKE_NVML="script"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.time()
    return begun, ended, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said


def measure(idle, child, *more):
    shutil.rmtree("session", ignore_errors=True)
    return timed([lowcarb, "measure", "--nvml-lib", library, "--powercap", "/nonexistent", "--idle", str(idle), "--out", "session", *more, "--", *child])


stamp = ["date", "+%s.%N"]
script(["trace=wave:90,400,1.0,0.5 limit=700"] * 8)
delays = {"bare": [], "measured": []}
for _ in range(20):
    begun, _, _, _, said = timed(stamp)
    delays["bare"].append(1e3 * (float(said) - begun))
    begun, _, _, _, said = measure(0.2, stamp)
    delays["measured"].append(1e3 * (float(said) - begun - 0.2))
for name in delays:
    print("child starts after, %s: median %.2f ms, least %.2f ms" % (name, statistics.median(delays[name]), min(delays[name])))
print("added: median %.2f ms, least %.2f ms (bar: 1 ms)" % tuple(f(delays["measured"]) - f(delays["bare"]) for f in (statistics.median, min)))

child = ["sleep", "10"]
begun, ended, cpu, memory, _ = measure(0, child)
print("lowcarb measure, 8 GPUs, 100 ms: %.3f s of one core (%.2f %%; bar: 0.5 %%), %.1f MB (bar: 20 MB), %.3f s around the child" % (cpu, 10 * cpu, memory, ended - begun - 10))
if codecarbon:
    begun, ended, cpu, memory, _ = timed([codecarbon, "monitor", "--offline", "--country-iso-code", "DEU", "--no-api", "--", *child])
    print("codecarbon monitor: %.3f s of one core, %.1f MB, %.3f s around the child" % (cpu, memory, ended - begun - 10))

traces = ["flat:200", "wave:90,400,1.0,0.5", "ramp:60,350,0.7", "wave:100,600,0.2,0.03", "wave:100,600,0.13,0.04"]


def joules(trace, time):
    kind, numbers = trace.split(":")
    numbers = [float(number) for number in numbers.split(",")]
    if kind == "flat":
        return numbers[0] * time
    low, high, period = numbers[:3]
    whole, rest = math.floor(time / period), time % period
    if kind == "ramp":
        return low * time + (high - low) * (whole * period / 2 + rest * rest / (2 * period))
    return low * time + (high - low) * (whole * numbers[3] + min(rest, numbers[3]))


def errors(device):
    """Energy of 10 s against the truth between the child's own stamps, %, and where it came from."""
    script([device])
    origin = float(open("script").readline().split()[1])
    *_, said = measure(0.3, ["sh", "-c", "date +%s.%N; sleep 10; date +%s.%N"])
    begun, ended = (float(line) - origin for line in said.split())
    trace = device.split()[0][len("trace="):]
    truth = joules(trace, ended) - joules(trace, begun)
    shown = json.loads(subprocess.run([lowcarb, "session", "show", "session", "--format", "json"], stdout=subprocess.PIPE).stdout)["gpus"][0]
    return 100 * (shown["energy_j"] / truth - 1), 100 * (shown["sampled_energy_j"] / truth - 1), shown["energy_basis"]


for what in ("", " step=0.1", " counter=no"):
    for trace in traces:
        energy, sampled, basis = errors("trace=" + trace + what)
        print("%-24s%-11s energy %+.3f %% (%s), power readings alone %+.3f %%" % (trace, what, energy, basis, sampled))
PYTHON
