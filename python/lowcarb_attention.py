"""The attention mechanisms that lowcarb_model.py builds. Each mixes positions its own way between the same projections in and out."""

import math

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Projections, a way of mixing positions between them, and the output projection."""

    def __init__(self, model, linear, causal, shared=None):
        super().__init__()
        settings = model["attention"]
        self.heads, self.width = settings["heads"], settings["head_width"]
        self.scaled, self.fused = settings["scaled"], settings["implementation"] == "fused"
        self.causal, self.rate = causal, settings["dropout"]
        inner = self.heads * self.width
        if settings["fused_projection"]:
            self.all = linear("query_key_value", model["width"], 3 * inner, settings["bias"])
        else:
            self.all = None
            self.query, self.key, self.value = (
                linear(name, model["width"], inner, settings["bias"]) for name in ("query", "key", "value")
            )
        self.output = linear("output", inner, model["width"], settings["output_bias"])

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, self.width).transpose(1, 2)

    def projected(self, x):
        parts = self.all(x).chunk(3, dim=-1) if self.all is not None else (self.query(x), self.key(x), self.value(x))
        return [self.split(part) for part in parts]

    def forward(self, x):
        mixed = self.mix(x).transpose(1, 2)
        return self.output(mixed.reshape(mixed.shape[0], mixed.shape[1], -1))

    def mix(self, x):
        return self.attend(*self.projected(x))

    def attend(self, query, key, value):
        rate = self.rate if self.training else 0.0
        if self.fused:
            return functional.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=self.causal)
        # Added, which keeps nothing for the backward pass.
        later = (lambda scores: scores + torch.full_like(scores[0, 0], torch.finfo(scores.dtype).min).triu(1)) if self.causal else None
        return self.weighted(query, key, value, later)

    def weighted(self, query, key, value, hide=None):
        scores = torch.matmul(query, key.transpose(-1, -2))
        scores = scores / math.sqrt(self.width) if self.scaled else scores
        scores = hide(scores) if hide is not None else scores
        weights = functional.dropout(torch.softmax(scores, dim=-1), self.rate, self.training)
        return torch.matmul(weights, value)


def length_projection(settings, heads):
    """Rows for positions, columns for what they are projected to; of each head where it has its own."""
    shape = (settings["length"], settings["projected_length"])
    return nn.Parameter(torch.randn((heads,) + shape if heads else shape) / math.sqrt(settings["projected_length"]))


class Linformer(Attention):
    """Keys and values projected to a fixed length (Wang et al. 2020)."""

    def __init__(self, model, linear, causal, shared=None):
        super().__init__(model, linear, causal)
        settings = model["attention"]["linformer"]
        sharing = settings["sharing"]
        self.early = settings["order"] == "compress_then_project"
        self.by_head = sharing == "none"
        heads = self.heads if self.by_head else None
        self.for_keys = shared if sharing == "layerwise" else length_projection(settings, heads)
        self.for_values = length_projection(settings, heads) if sharing in ("none", "headwise") else self.for_keys

    def mix(self, x):
        query = self.split(self.query(x))
        if self.early:
            short = self.shorten(x, self.for_keys)
            other = short if self.for_values is self.for_keys else self.shorten(x, self.for_values)
            return self.attend(query, self.split(self.key(short)), self.split(self.value(other)))
        key, value = self.key(x), self.value(x)
        if self.by_head:
            key, value = self.split(key), self.split(value)
        key, value = self.shorten(key, self.for_keys), self.shorten(value, self.for_values)
        return self.attend(query, *((key, value) if self.by_head else (self.split(key), self.split(value))))

    @staticmethod
    def shorten(x, projection):
        return torch.matmul(projection[..., : x.shape[-2], :].transpose(-1, -2), x)


def kernel_attention(query, key, value, causal):
    """Features of queries times the sums of those of keys by values, each row over the sum of its weights (Katharopoulos et al. 2020)."""
    if not causal:
        sums = torch.matmul(query, key.sum(dim=-2, keepdim=True).transpose(-1, -2))
        return torch.matmul(query, torch.matmul(key.transpose(-1, -2), value)) * (1.0 / (sums + 1e-6))
    sums = torch.matmul(query.unsqueeze(-2), key.cumsum(dim=-2).unsqueeze(-1)).squeeze(-1)
    states = (key.unsqueeze(-1) * value.unsqueeze(-2)).cumsum(dim=-3)
    return torch.matmul(query.unsqueeze(-2), states).squeeze(-2) * (1.0 / (sums + 1e-6))


class Linear(Attention):
    """elu plus one of queries and keys (Katharopoulos et al. 2020)."""

    def attend(self, query, key, value):
        return kernel_attention(functional.elu(query) + 1.0, functional.elu(key) + 1.0, value, self.causal)


class Performer(Attention):
    """Random features of a kernel, FAVOR+ (Choromanski et al. 2021); the matrix is fixed."""

    def __init__(self, model, linear, causal, shared=None):
        super().__init__(model, linear, causal)
        settings = model["attention"]["performer"]
        self.relu, features = settings["kernel"] == "relu", settings["features"]
        self.register_buffer("matrix", orthogonal_rows(features, self.width) if features else None)

    def attend(self, query, key, value):
        return kernel_attention(self.features(query, (-1,)), self.features(key, (-1, -2)), value, self.causal)

    def features(self, x, compared):
        scaled = x * self.width**-0.25 if self.scaled else x
        products = scaled if self.matrix is None else torch.matmul(scaled, self.matrix.t())
        if self.relu:
            return functional.relu(products) + 1e-3
        largest = products.amax(dim=compared, keepdim=True).detach()
        half = x.pow(2).sum(dim=-1, keepdim=True) * (0.5 * (self.width**-0.5 if self.scaled else 1.0))
        return (torch.exp(products - half - largest) + 1e-4) * self.matrix.shape[0] ** -0.5


def orthogonal_rows(rows, columns):
    """Blocks of orthogonal rows, each as long as a normal vector is (section 2.4 of the paper)."""
    blocks = [torch.linalg.qr(torch.randn(columns, columns))[0] for _ in range(-(-rows // columns))]
    return torch.cat(blocks)[:rows] * torch.randn(rows, columns).norm(dim=1, keepdim=True)


class Local(Attention):
    """Blocks of positions that see themselves and neighbours (Liu et al. 2018)."""

    def __init__(self, model, linear, causal, shared=None):
        super().__init__(model, linear, causal)
        settings = model["attention"]["local"]
        self.window, self.before, self.always = settings["window"], settings["look_backward"], settings["padding"] == "always"
        self.after = settings["look_forward"]
        if self.after is None:
            self.after = 0 if causal else 1

    def forward(self, x):
        length = x.shape[1]
        missing = self.window - length % self.window
        missing = missing if self.always else missing % self.window
        mixed = self.mix(functional.pad(x, (0, 0, 0, missing)) if missing else x, length).transpose(1, 2)
        return self.output(mixed.reshape(mixed.shape[0], mixed.shape[1], -1))[:, :length]

    def mix(self, x, length):
        query, key, value = self.projected(x)
        window, blocks = self.window, x.shape[1] // self.window
        seen = (1 + self.before + self.after) * window
        query = query.reshape(x.shape[0], self.heads, blocks, window, self.width)
        position = torch.arange(blocks * window, device=x.device).view(blocks, window, 1)
        looked_at = (torch.arange(blocks, device=x.device).view(blocks, 1, 1) - self.before) * window
        looked_at = looked_at + torch.arange(seen, device=x.device)
        hidden = (looked_at < 0) | (looked_at >= length)
        if self.causal:
            hidden = hidden | (looked_at > position)
        hide = lambda scores: scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        mixed = self.weighted(query, self.around(key, seen), self.around(value, seen), hide)
        return mixed.reshape(x.shape[0], self.heads, blocks * window, self.width)

    def around(self, x, seen):
        """Of every block the positions that it sees, with zeros beyond the ends."""
        padded = functional.pad(x, (0, 0, self.before * self.window, self.after * self.window))
        return padded.unfold(2, seen, self.window).transpose(-1, -2)


MECHANISMS = {"softmax": Attention, "linformer": Linformer, "linear": Linear, "performer": Performer, "local": Local}
