"""Marks of a training script for `lowcarb measure`. Copy this file beside your script; it needs Python 3.8 and nothing else.

    import lowcarb_marks

    with lowcarb_marks.phase("train"):
        for batch in batches:
            loss = train(batch)
            lowcarb_marks.step(samples=len(batch), tokens=batch.numel())

Under `lowcarb measure -- python3 train.py`, time and energy of every phase and step are then told apart. Without it, that is without the
variable LOWCARB_MARKS, and on every rank but the first, nothing is written and nothing is waited for.

A mark tells the truth only if the device has done what came before it. So before each, torch.cuda.synchronize() is called where torch is
loaded and CUDA is in use; say `synchronise=` to have another function called, or False for none. Where steps are short, one mark stands
for those of 20 ms.
"""

import atexit
import contextlib
import json
import math
import os
import re
import sys
import time

# Steps are marked at most so often, s: writing and waiting shall not be felt.
STEPS_EVERY = 0.02
# What launchers call the rank of a process among all; the first that is set counts.
RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")


@contextlib.contextmanager
def phase(name, synchronise=None):
    """A phase around a block. Phases may nest; one that comes again adds to its figures."""
    begin(name, synchronise)
    try:
        yield
    finally:
        end(name, synchronise)


def begin(name, synchronise=None):
    """A phase begins. A name has up to 64 letters, digits and . _ : / -; any other character becomes _."""
    _writer.mark("begin " + _name(name), synchronise)


def end(name, synchronise=None):
    """The phase ends."""
    _writer.mark("end " + _name(name), synchronise)


def step(samples=None, tokens=None, count=1, synchronise=None):
    """A step is complete, or `count` of them, each of so many samples and tokens over all accelerators."""
    _writer.step((samples, tokens), count, synchronise)


def plan(steps):
    """The whole run will have so many steps."""
    if steps > 0:
        _writer.write("plan steps=%d" % steps)


def fact(table, **columns):
    """Facts of the innermost open phase, as columns of a table: runs, or kernels."""
    if active():
        _writer.write("fact %s %s" % (table, json.dumps({key: _plain(value) for key, value in columns.items()}, default=str)))


def active():
    """Whether marks are written."""
    return _writer.is_open()


def trainer_callback(tokens_per_sample=None):
    """A callback for the Trainer of Hugging Face transformers, which marks training, evaluation and saving as phases, and steps:

        Trainer(..., callbacks=[lowcarb_marks.trainer_callback()])

    Samples of a step are those that the TrainingArguments ask for. Tokens are known where these count them
    (include_num_input_tokens_seen), or where every sample has the same number, `tokens_per_sample`.
    """
    from transformers import TrainerCallback

    class Marks(TrainerCallback):
        def __init__(self):
            self.phase = None
            self.training = False
            self.seen = 0

        def switch(self, name):
            if self.phase is not None:
                end(self.phase)
            self.phase = name
            if name is not None:
                begin(name)

        def what_follows(self, control):
            # The trainer evaluates and saves between two steps; neither is to be time of a step.
            if control.should_evaluate:
                self.switch("evaluation")
            elif control.should_save:
                self.switch("save")

        def on_train_begin(self, args, state, control, **others):
            plan(state.max_steps)
            self.seen = getattr(state, "num_input_tokens_seen", 0)
            self.training = True
            self.switch("train")

        def on_step_end(self, args, state, control, **others):
            samples = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            tokens = samples * tokens_per_sample if tokens_per_sample else None
            if getattr(args, "include_num_input_tokens_seen", False) not in (False, "no", None):
                tokens, self.seen = state.num_input_tokens_seen - self.seen, state.num_input_tokens_seen
            step(samples=samples, tokens=tokens)
            self.what_follows(control)

        def on_epoch_end(self, args, state, control, **others):
            self.what_follows(control)

        def on_prediction_step(self, args, state, control, **others):
            # Not between two steps: evaluate() or predict() was called.
            if self.phase is None:
                self.switch("evaluation")

        def on_evaluate(self, args, state, control, **others):
            self.switch(("save" if control.should_save else "train") if self.training else None)

        def on_predict(self, args, state, control, metrics=None, **others):
            self.switch("train" if self.training else None)

        def on_save(self, args, state, control, **others):
            self.switch("train" if self.training else None)

        def on_train_end(self, args, state, control, **others):
            self.training = False
            self.switch(None)

    return Marks()


class _Writer:
    """The file of marks, opened when the first is to be written."""

    def __init__(self):
        self.file = None
        # Steps that no mark stands for yet: how many, samples and tokens of all together.
        self.count, self.sums = 0, (0, 0)
        self.last = 0.0

    def is_open(self):
        """Whether there is a file to write to; it is opened once."""
        if self.file is None:
            path = os.environ.get("LOWCARB_MARKS")
            self.file = False
            if path and _rank() == 0:
                try:
                    self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
                    atexit.register(self.leave, os.getpid())
                except OSError as error:
                    self.stop(error)
        return self.file is not False

    def mark(self, text, synchronise):
        if self.is_open():
            self.flush(synchronise)
            self.stamped(text, synchronise)

    def step(self, each, count, synchronise):
        if count < 1 or not self.is_open():
            return
        self.sums = tuple(None if None in (one, sum) else sum + one * count for one, sum in zip(each, self.sums))
        self.count += count
        if time.monotonic() - self.last >= STEPS_EVERY:
            self.flush(synchronise)

    def flush(self, synchronise):
        """Marks the steps that no mark stands for yet: samples and tokens of one, on average."""
        if self.count:
            words = ["step"] + (["count=%d" % self.count] if self.count > 1 else [])
            words += ["%s=%.12g" % (key, sum / self.count) for key, sum in zip(("samples", "tokens"), self.sums) if sum is not None]
            self.count, self.sums = 0, (0, 0)
            self.stamped(" ".join(words), synchronise)

    def leave(self, process):
        """The process that opened the file ends; one that it forked has no steps of its own."""
        if process == os.getpid():
            self.flush(None)

    def stamped(self, text, synchronise):
        _wait(synchronise)
        self.last = time.monotonic()
        self.write("%s monotonic=%.6f" % (text, self.last))

    def write(self, line):
        """One write for a line, so that lines of several processes do not mix. It must never break a training."""
        if not self.is_open():
            return
        data = (line + "\n").encode()
        try:
            if os.write(self.file, data) != len(data):
                raise OSError("only a part of a line was written")
        except OSError as error:
            self.stop(error)

    def stop(self, error):
        path = os.environ.get("LOWCARB_MARKS")
        print("lowcarb_marks: no more marks, %s cannot be written: %s" % (path, error), file=sys.stderr)
        self.file, self.count = False, 0


def _name(name):
    return re.sub(r"[^A-Za-z0-9._:/-]", "_", str(name))[:64] or "_"


def _plain(value):
    """JSON knows no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rank():
    for variable in RANKS:
        try:
            return int(os.environ[variable])
        except (KeyError, ValueError):
            continue
    return 0


def _wait(synchronise):
    if synchronise is None:
        torch = sys.modules.get("torch")
        cuda = getattr(torch, "cuda", None)
        if cuda is not None and cuda.is_available() and cuda.is_initialized():
            with contextlib.suppress(RuntimeError):  # What failed on the device is told by the script's own next call.
                cuda.synchronize()
    elif synchronise:
        synchronise()


_writer = _Writer()
