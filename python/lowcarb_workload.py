"""Builds in PyTorch the model that lowcarb resolved and trains it on random tokens, with marks for `lowcarb measure`.

    lowcarb inspect bert-base --set linear.rank=192 --batch 16 --precision bf16 --format json > case.json
    lowcarb measure -- python3 lowcarb_workload.py case.json --steps 50

A file (or - for standard input) may hold several such outputs, one after another, and several files may be named: all then run in one
process, each in a phase of its own, and what does not fit in memory is named and left out. What cannot be built exactly as lowcarb
counted it is refused. A line of JSON for every case goes to standard output. Needs lowcarb_marks.py, lowcarb_model.py and
lowcarb_attention.py beside it, and PyTorch 1.13 or newer, 2.0 for fused attention.
"""

import argparse
import contextlib
import gc
import json
import math
import re
import sys
import time

import torch

import lowcarb_marks
from lowcarb_model import Refused, build

# Batches of tokens that steps take in turn.
BATCHES = 4
PRECISIONS = {"fp32": "fp32", "tf32": "tf32", "fp16": "fp16-mixed", "bf16": "bf16-mixed"}


def documents(names):
    """The outputs of inspect in the files, one after another."""
    decoder = json.JSONDecoder()
    for name in names:
        try:
            text = sys.stdin.read() if name == "-" else open(name, encoding="utf-8").read()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused("%s: %s" % (name, error)) from None
        place, found = 0, 0
        while text[place:].strip():
            place += len(text[place:]) - len(text[place:].lstrip())
            line = text.count("\n", 0, place) + 1
            try:
                case, place = decoder.raw_decode(text, place)
            except ValueError as error:
                raise Refused("%s:%d: no JSON: %s" % (name, line, error)) from None
            if not isinstance(case, dict) or not isinstance(case.get("configuration"), dict):
                raise Refused("%s:%d: no `configuration`: this is not the output of lowcarb inspect --format json" % (name, line))
            found += 1
            yield case
        if not found:
            raise Refused("%s: nothing in it; allowed: the output of lowcarb inspect --format json" % name)


def name_of(case, taken):
    """A name for a case, that of its key `id` if it has one; each only once."""
    attention, linear = case["configuration"]["attention"], case["configuration"]["linear"]
    parts = [case["model"]]
    parts += [] if attention["kind"] == "softmax" or attention["kind"] in case["model"] else [attention["kind"]]
    parts += ["fused"] if attention["implementation"] == "fused" else []
    parts += ["r%s" % (linear["rank"] or linear["ratio"])] if linear["kind"] == "low_rank" else []
    parts += ["b%d" % case["batch"], "n%d" % case["seq_len"], case["precision"]]
    name = first = re.sub(r"[^A-Za-z0-9._:/-]", "_", str(case.get("id") or "-".join(parts)))[:60]
    number = 1
    while name in taken:
        number += 1
        name = "%s-%d" % (first, number)
    taken.add(name)
    return name


def facts(case, name, options, device, model, optimizer):
    """The columns of a table of runs, as far as this script knows them."""
    configuration = case["configuration"]
    attention, linear = configuration["attention"], configuration["linear"]
    causal = configuration["encoder"] is None
    settings = attention[attention["kind"]]
    return {
        "id": name,
        "source": "lowcarb_workload.py",
        "framework": "pytorch-eager",
        "framework_version": torch.__version__,
        "phase": options.phase,
        "model": case["model"],
        "kind": "decoder" if causal else "encoder",
        "layers": configuration["decoder" if causal else "encoder"]["layers"],
        "hidden": configuration["width"],
        "heads": attention["heads"],
        "feed_forward": configuration["feed_forward"]["width"],
        "vocabulary": configuration["embedding"]["vocabulary"],
        "seq_len": case["seq_len"],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "gpus": 1,
        "gpus_per_node": 1,
        "tensor_parallel": 1,
        "pipeline_parallel": 1,
        "data_parallel": 1,
        "sharding": "none",
        "global_batch": case["batch"],
        "micro_batch": case["batch"],
        "precision": PRECISIONS[case["precision"]],
        "recompute": "none",
        "attention": "flash" if attention["implementation"] == "fused" else "eager",
        "dropout": configuration["dropout"],
        "mechanism": attention["kind"],
        "rank": linear["rank"],
        "rank_ratio": linear["ratio"],
        "length_projection": settings.get("projected_length"),
        "features": settings.get("features") if attention["kind"] == "performer" else None,
        "window": settings.get("window"),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "optimizer": optimizer,
        "peak_allocated_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def optimizer_of(word, model, device):
    """An optimizer and its name; in one kernel where there is one."""
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}[word]
    rate = {"lr": 1e-4}
    if device.type == "cuda":
        with contextlib.suppress(TypeError, RuntimeError):  # This version of PyTorch has no such kernel.
            return kind(model.parameters(), fused=True, **rate), word + "-fused"
    return kind(model.parameters(), **rate), word


class Steps:
    """What a step does."""

    def __init__(self, case, options, device):
        precision = case["precision"]
        if precision not in PRECISIONS:
            raise Refused("precision %s cannot be run here, only: %s" % (precision, ", ".join(PRECISIONS)))
        if device.type != "cuda" and precision in ("tf32", "fp16"):
            raise Refused("precision %s needs --device cuda" % precision)
        self.phase, self.device = options.phase, device
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        self.format = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
        if self.format and device.type == "cpu":
            try:
                with torch.autocast("cpu", dtype=self.format):
                    torch.nn.LayerNorm(8)(torch.nn.Linear(8, 8)(torch.zeros(8, 8))).sum().backward()
            except RuntimeError:
                raise Refused("precision %s on a CPU cannot be run by PyTorch %s" % (precision, torch.__version__)) from None
        self.model = build(case).to(device)
        self.model.train(options.phase != "forward")
        self.optimizer, self.word = None, None
        if options.phase == "train_step":
            self.optimizer, self.word = optimizer_of(options.optimizer, self.model, device)
        self.scaler = None
        if precision == "fp16" and options.phase != "forward":
            # Before PyTorch 2.3 it stood elsewhere.
            self.scaler = torch.amp.GradScaler("cuda") if hasattr(torch.amp, "GradScaler") else torch.cuda.amp.GradScaler()
        size = (case["batch"], case["seq_len"])
        vocabulary = case["configuration"]["embedding"]["vocabulary"]
        self.batches = [torch.randint(vocabulary, size, device=device) for _ in range(BATCHES)]
        self.number = 0

    def __call__(self):
        ids = self.batches[self.number % BATCHES]
        self.number += 1
        cast = torch.autocast(self.device.type, dtype=self.format) if self.format else contextlib.nullcontext()
        if self.phase == "forward":
            with torch.no_grad(), cast:
                return self.model(ids)
        with cast:
            loss = self.model.loss(ids, ids)
        (self.scaler.scale(loss) if self.scaler else loss).backward()
        if self.optimizer is None:
            self.model.zero_grad(set_to_none=True)
            return loss
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(case, name, phase, warmup, options, device):
    """Warm-up, then the steps that count, in a phase; returns what was measured."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps = Steps(case, options, device)
    with lowcarb_marks.phase(warmup):
        for _ in range(options.warmup):
            steps()
        steps.wait()
    samples, tokens = case["batch"], case["batch"] * case["seq_len"]
    result, count = None, 0
    with lowcarb_marks.phase(phase):
        start = time.monotonic()
        try:
            while count < options.steps if options.seconds is None else count == 0 or time.monotonic() - start < options.seconds:
                result = steps()
                count += 1
                lowcarb_marks.step(samples=samples, tokens=tokens)
            steps.wait()
        finally:
            # Of a run that is stopped, what it did until then.
            seconds = time.monotonic() - start
            known = facts(case, name, options, device, steps.model, steps.word)
            if count:
                lowcarb_marks.fact("runs", **known)
    loss = float(result.detach()) if options.phase != "forward" else None
    if loss is not None and not math.isfinite(loss):
        raise Refused("%s: the loss is %s" % (name, loss))
    return {**known, "steps": count, "seconds": seconds, "seconds_per_step": seconds / count, "loss": loss}


def is_out_of_memory(error):
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="+", metavar="FILE", help="output of lowcarb inspect --format json; - for standard input")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=50, help="steps of a case (50)")
    length.add_argument("--seconds", type=float, help="seconds of a case, in place of a number of steps")
    parser.add_argument("--seconds-total", type=float, help="no case begins after so many seconds")
    parser.add_argument("--warmup", type=int, default=5, help="steps before those that count (5)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--phase", choices=["train_step", "forward_backward", "forward"], default="train_step", help="what a step is")
    parser.add_argument("--optimizer", choices=["adamw", "adam", "sgd"], default="adamw")
    options = parser.parse_args()
    for key in ("steps", "seconds", "warmup", "seconds_total"):
        least = 0 if key == "warmup" else 1e-9
        if getattr(options, key) is not None and not least <= getattr(options, key) < 1e12:
            parser.error("--%s %s: a number above 0" % (key.replace("_", "-"), getattr(options, key)))
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch %s finds no CUDA device here" % torch.__version__)
    return options


def main():
    options, start = read_options(), time.monotonic()
    torch.manual_seed(0)
    device, taken, failed = torch.device(options.device), {"warmup", "run"}, 0
    talk = lambda text: print("lowcarb_workload: %s" % text, file=sys.stderr, flush=True)
    try:
        cases = list(documents(options.cases))
    except Refused as error:
        talk(error)
        return 2
    alone = len(cases) == 1
    if options.seconds is None:
        lowcarb_marks.plan(options.steps * len(cases))
    for number, case in enumerate(cases):
        if options.seconds_total is not None and time.monotonic() - start > options.seconds_total:
            talk("%d of %d cases were not begun: --seconds-total %g is over" % (len(cases) - number, len(cases), options.seconds_total))
            break
        name = "case %d" % (number + 1)
        try:
            name = name_of(case, taken)
            result = measure(case, name, "train" if alone else name, "warmup", options, device)
            print(json.dumps(result), flush=True)
        except Refused as error:
            talk("%s: %s" % (name, error))
            failed += 1
        except KeyError as error:
            talk("%s: no key %s in it: this is not the output of this version of lowcarb" % (name, error))
            failed += 1
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            talk("%s: out of memory on %s" % (name, device))
            if alone:
                return 1
            # A phase that has no steps stands for what did not fit.
            with lowcarb_marks.phase(name):
                pass
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
