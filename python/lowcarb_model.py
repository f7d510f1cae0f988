"""Builds in PyTorch the model that lowcarb resolved: the `configuration` in the output of `lowcarb inspect --format json`.

Nothing is built that differs from what lowcarb counted: a setting that is not known here is refused, and so is a model whose number of
parameters is another. Needs PyTorch 1.13 or newer, and 2.0 for fused attention.
"""

import json
import math

import torch
from torch import nn
from torch.nn import functional

from lowcarb_attention import MECHANISMS, length_projection


class Refused(Exception):
    """What cannot be built or run, and why; one message for the user."""


ANY = object()
# What a setting may be. One that is not named here must be null, false or zero.
ENCODER_OR_DECODER = {
    "layers": ANY, "shared": [False], "reversible": [False], "streams": ANY, "latents": [None], "output_dropout": [0],
    "groups": [[]],
}
SETTINGS = {
    "schema": [1], "width": ANY, "dropout": ANY, "dropout_mask": ANY,
    "embedding": {
        "kind": ["tokens"], "vocabulary": ANY, "width": ANY, "dropout": ANY, "projection_bias": ANY,
        "projection": ["sum", "normalised"],
        "segments": ANY, "segment_ids": ANY, "norm": ANY,
        "positions": {
            "kind": ["learned", "none"], "length": ANY, "reserved": ANY, "ids": ANY, "shape": [[]], "widths": [[]], "tables": ANY,
            "dropout": [0],
        },
    },
    "encoder": ENCODER_OR_DECODER,
    "decoder": ENCODER_OR_DECODER,
    "attention": {
        "kind": list(MECHANISMS), "heads": ANY, "key_value_heads": ANY, "head_width": ANY,
        "bias": ANY, "output_bias": ANY, "fused_projection": ANY, "repeated_heads": ANY, "scaled": ANY,
        "scale": ["scores"], "mask": ["added"], "dropout": ANY, "output_dropout": ANY, "dropout_mask": ANY,
        "implementation": ["eager", "fused"],
        "softmax": {},
        "linformer": {
            "projected_length": ANY, "sharing": ["none", "headwise", "key_value", "layerwise"],
            "order": ["project_then_compress", "compress_then_project"], "length": ANY,
        },
        "performer": {"kernel": ["softmax", "relu"], "features": ANY, "running": ANY},
        "linear": {"features": ["elu"], "normalised": [True, None], "running": ANY},
        "local": {"window": ANY, "look_backward": ANY, "look_forward": ANY, "padding": ["multiple", "always"]},
    },
    "feed_forward": {
        "kind": ["plain"], "width": ANY, "count": [1], "activation": ["relu", "gelu", "gelu_new", "silu"], "bias": ANY,
        "dropout": ANY, "output_dropout": ANY,
    },
    "norm": {"kind": ["layer"], "placement": ["post", "pre"], "weight": [True], "bias": [True], "final": ANY},
    "linear": {"kind": ANY, "rank": ANY, "ratio": ANY, "components": ANY},
    "head": {
        "kind": ["masked_lm", "causal_lm"], "transform": ANY, "tied": ANY, "bias": ANY, "loss": ["cross_entropy"],
        "positions": ["all"], "masked_share": ANY, "activation": ["relu", "gelu", "gelu_new", "silu", None], "shifted": ANY,
        "pooling": ANY, "classes": ANY, "inner_width": ANY, "dropout": ANY,
    },
}


def check(value, known, path=""):
    """Refuses a setting that would change the model in a way that is not written below."""
    for key, own in value.items():
        allowed = known.get(key, [None, False])
        if isinstance(allowed, dict) and own is not None:
            check(own, allowed, path + key + ".")
        elif isinstance(allowed, list) and own not in allowed:
            words = ", ".join(json.dumps(one) for one in allowed)
            raise Refused("%s = %s cannot be built in PyTorch here, only: %s" % (path + key, json.dumps(own), words))


class LowRank(nn.Module):
    """Two factors with nothing between; the bias stands on the second (Winata et al. 2020)."""

    def __init__(self, inputs, outputs, rank, bias):
        super().__init__()
        self.first = nn.Linear(inputs, rank, bias=False)
        self.second = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x):
        return self.second(self.first(x))


class Linears:
    """Makes linear layers of the kind that the model asks for."""

    def __init__(self, settings):
        self.settings = settings

    def __call__(self, component, inputs, outputs, bias):
        rank = self.rank(component, inputs, outputs)
        return LowRank(inputs, outputs, rank, bias) if rank else nn.Linear(inputs, outputs, bias=bias)

    def rank(self, component, inputs, outputs):
        """The rank of a layer's factors; none where it stays dense, since it is not named or two factors would be larger."""
        components = self.settings["components"] or []
        in_attention = component in ("query", "key", "value", "query_key_value", "output")
        if component not in components and not (in_attention and "attention" in components):
            return None
        limit = inputs * outputs / (inputs + outputs)
        rank = self.settings["rank"]
        if rank is None and self.settings["ratio"] is not None:
            rank = math.floor(math.floor(limit) * self.settings["ratio"])
        return rank if rank and rank < limit else None


def gelu_new(x):
    """The tanh form of GELU in separate operations, as lowcarb counts it."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


ACTIVATIONS = {"relu": functional.relu, "gelu": functional.gelu, "gelu_new": gelu_new, "silu": functional.silu}


class Layer(nn.Module):
    """Attention and a position-wise network around a residual stream."""

    def __init__(self, model, linear, causal, shared):
        super().__init__()
        network = model["feed_forward"]
        self.attention = MECHANISMS[model["attention"]["kind"]](model, linear, causal, shared)
        self.first = linear("feed_forward", model["width"], network["width"], network["bias"])
        self.second = linear("feed_forward", network["width"], model["width"], network["bias"])
        self.activation = ACTIVATIONS[network["activation"]]
        self.inner_dropout = nn.Dropout(network["dropout"])
        self.dropouts = nn.ModuleList([nn.Dropout(model["attention"]["output_dropout"]), nn.Dropout(network["output_dropout"])])
        self.norms = nn.ModuleList([nn.LayerNorm(model["width"]) for _ in range(2)])
        self.post = model["norm"]["placement"] == "post"

    def network(self, x):
        return self.second(self.inner_dropout(self.activation(self.first(x))))

    def forward(self, x):
        for norm, dropout, part in zip(self.norms, self.dropouts, (self.attention, self.network)):
            x = norm(x + dropout(part(x))) if self.post else x + dropout(part(norm(x)))
        return x


class Model(nn.Module):
    """Embedding, layers and the head of a language model."""

    def __init__(self, model):
        super().__init__()
        embedding, head, positions = model["embedding"], model["head"], model["embedding"]["positions"]
        width, linear = model["width"], Linears(model["linear"])
        self.causal = model["encoder"] is None
        self.tokens = nn.Embedding(embedding["vocabulary"], width)
        self.segments = nn.Embedding(embedding["segments"], width) if embedding["segments"] else None
        self.positions = nn.Embedding(positions["length"], width) if positions["kind"] == "learned" else None
        self.reserved = positions["reserved"]
        self.norm = nn.LayerNorm(width) if embedding["norm"] else None
        self.dropout = nn.Dropout(embedding["dropout"])
        # The one length projection of all layers, where they share it.
        shared = None
        if model["attention"]["kind"] == "linformer" and model["attention"]["linformer"]["sharing"] == "layerwise":
            shared = length_projection(model["attention"]["linformer"], None)
        layers = (model["decoder"] if self.causal else model["encoder"])["layers"]
        self.layers = nn.ModuleList([Layer(model, linear, self.causal, shared) for _ in range(layers)])
        self.last = nn.LayerNorm(width) if model["norm"]["final"] else None
        self.shifted = self.causal and head["kind"] == "causal_lm" and head["shifted"]
        self.transform = None
        if head["transform"]:
            self.transform = linear("head_transform", width, width, True)
            self.activation, self.transform_norm = ACTIVATIONS[head["activation"] or "gelu"], nn.LayerNorm(width)
        # A vocabulary projection of two factors cannot be the token table.
        tied = head["tied"] and linear.rank("vocabulary", width, embedding["vocabulary"]) is None
        self.project = None if tied else linear("vocabulary", width, embedding["vocabulary"], head["bias"])
        self.bias = nn.Parameter(torch.zeros(embedding["vocabulary"])) if tied and head["bias"] else None
        self.apply(initialise)

    def forward(self, ids):
        x = self.tokens(ids)
        if self.segments is not None:
            x = x + self.segments(torch.zeros_like(ids))
        if self.positions is not None:
            x = x + self.positions(torch.arange(self.reserved, self.reserved + ids.shape[1], device=ids.device))
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x)
        if self.last is not None:
            x = self.last(x)
        if self.transform is not None:
            x = self.transform_norm(self.activation(self.transform(x)))
        return functional.linear(x, self.tokens.weight, self.bias) if self.project is None else self.project(x)

    def loss(self, ids, labels):
        """Cross entropy over every position; of a decoder each position predicts the next."""
        logits = self(ids)
        if self.shifted:
            logits, labels = logits[:, :-1], labels[:, 1:]
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


def initialise(module):
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


def refuse(case):
    """What the settings together do not allow."""
    model = case["configuration"]
    attention, kind = model["attention"], model["attention"]["kind"]
    # The settings of other mechanisms do not matter.
    check({**model, "attention": {key: own for key, own in attention.items() if not isinstance(own, dict) or key == kind}}, SETTINGS)
    causal = model["encoder"] is None
    for wrong, text in [
        ((model["encoder"] is None) == (model["decoder"] is None), "an encoder and a decoder in one model cannot be built here"),
        (model["embedding"]["width"] != model["width"], "embedding.width that differs from the model's cannot be built here"),
        (attention["key_value_heads"] != attention["heads"], "attention.key_value_heads below heads cannot be built here"),
        (model["head"]["kind"] == "causal_lm" and not causal, "head.kind = causal_lm on an encoder cannot be built here"),
        (
            causal and kind in ("performer", "linear") and attention[kind]["running"] == "scan",
            "%s attention of a decoder needs a kernel that scans positions; attention.%s.running = states can be built" % (kind, kind),
        ),
        (attention["implementation"] == "fused" and not attention["scaled"], "fused attention without a scale cannot be built here"),
        (
            attention["implementation"] == "fused" and not hasattr(functional, "scaled_dot_product_attention"),
            "attention.implementation = fused needs PyTorch 2.0 or newer; this is %s" % torch.__version__,
        ),
        (case["step"]["accelerators"] != 1, "a step on %s accelerators cannot be run here, only on one" % case["step"]["accelerators"]),
        (case["step"]["micro_batches"] != 1, "micro-batches cannot be run here, only one batch a step"),
        (case["step"]["matmul_checkpointing"] or case["step"]["bytes_checkpointing"], "checkpointing cannot be run here"),
    ]:
        if wrong:
            raise Refused(text)


def build(case):
    """The model of an output of `lowcarb inspect`, with as many parameters as that states."""
    refuse(case)
    model = Model(case["configuration"])
    built, counted = sum(parameter.numel() for parameter in model.parameters()), case["parameters"]["total"]
    if built != counted:
        raise Refused("built %d parameters, and lowcarb counts %d: they are not the same model" % (built, counted))
    return model
