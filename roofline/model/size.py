"""A model of which only the size is known: a plain Llama-like decoder of about that many parameters."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Mapping

from ..errors import RooflineError
from ..units import count, format_count

_SIZE = r"\d[\d.,_]*(?:[eE]\d+)?[kKmMbBtT]?"
SMALLEST, LARGEST = 20 * 10**6, 10**14  # below, embeddings decide
# Parameters (without embeddings, as 12 L d^2) and width of decoders: GPT-3 125M and 1.3B (arXiv:2005.14165, table 2.1),
# LLaMA 7B, 13B, 33B, 65B (arXiv:2302.13971, table 2), Llama 3 405B (arXiv:2407.21783, table 3).
WIDTHS = (
    (85e6, 768),
    (1.2e9, 2048),
    (6.44e9, 4096),
    (12.6e9, 5120),
    (31.9e9, 6656),
    (64.4e9, 8192),
    (401e9, 16384),
)
VOCABULARY = 32_000
TIED_BELOW = 10**9  # small models share the embedding with the head
WIDE = 2048  # from here on heads are 128 wide, below 64
STEPS = (
    (7168, 1024),
    (WIDE, 512),
    (0, 256),
)  # width from which on it is a multiple of this: heads divide by 4 or 8
SHAPE = ("n_layers", "d_model", "n_heads", "d_ff", "vocab_size")


def is_size(text: str) -> bool:
    """Whether a model is given as a number of parameters.

    >>> is_size("7B"), is_size("1.5b"), is_size("7"), is_size("gpt2")
    (True, True, True, False)
    """
    return bool(re.fullmatch(_SIZE, text, re.ASCII))


def flat_of_size(text: str) -> dict[str, object]:
    """The flat keys of a decoder of LLaMA's make with about as many parameters as `text` says.

    The width lies between those of published decoders (`WIDTHS`); the number of layers follows.

    >>> [flat_of_size("7B")[key] for key in SHAPE]  # LLaMA 7B itself
    [32, 4096, 32, 11008, 32000]

    Raises:
        RooflineError: Fewer or more parameters than any model has.
    """
    size = count(text)
    if size < SMALLEST:
        meant = f"{size:,} parameters? did you mean {size}B" if size < 1000 else f"{size:,} parameters"
        raise RooflineError(
            f"model {text!r}: {meant} (a model given by its size has {format_count(SMALLEST)} to "
            f"{format_count(LARGEST)} parameters; 'roofline models' lists those known by name)"
        )
    if size > LARGEST:
        raise RooflineError(
            f"model {text!r}: {format_count(size)} parameters are more than any model has "
            f"({format_count(SMALLEST)} to {format_count(LARGEST)})"
        )
    width = _width(size)
    d_ff = 256 * math.ceil(8 * width / 3 / 256)  # as many weights as 4 d with two matrices, in whole tiles
    per_layer = 4 * width**2 + 3 * width * d_ff
    tied = size < TIED_BELOW
    layers = (size - (1 if tied else 2) * VOCABULARY * width) / per_layer
    whole = 4 if layers > 16 else 1  # divisible by the usual numbers of pipeline stages
    heads = width // (128 if width >= WIDE else 64)
    return {
        "name": f"llama-like-{text.lower()}",
        "source": "assumes the make of LLaMA (arXiv:2302.13971)",
        "n_layers": max(whole * round(layers / whole), 1),
        "d_model": width,
        "n_heads": heads,
        "n_kv_heads": heads,
        "d_ff": d_ff,
        "gated_mlp": True,
        "activation": "silu",
        "vocab_size": VOCABULARY,
        "tied_embeddings": tied,
        "norm": "rms",
        "biases": False,
        "rotary": True,
        "max_seq_len": 4096,
    }


def assumption(flat: Mapping[str, object], text: str) -> str:
    """What was assumed of a model that is given by its size, as a sentence."""
    layers, width, heads, d_ff, vocabulary = (flat[key] for key in SHAPE)
    return (
        f"{text} names a size, no model: assumes a plain Llama-like decoder of {layers} layers, width {width}, "
        f"{heads} heads, feed-forward {d_ff}, vocabulary {vocabulary} (--set changes them; a config.json is exact)"
    )


def _width(size: int) -> int:
    """The width of a decoder of `size` parameters: between the published ones, in whole groups of heads."""
    sizes = [math.log(known) for known, _ in WIDTHS]
    widths = [math.log(width) for _, width in WIDTHS]
    at = math.log(size)
    if not sizes[0] < at < sizes[-1]:  # as wide for its depth as the nearest: parameters grow with the cube of it
        end = 0 if at <= sizes[0] else -1
        wanted = math.exp(widths[end] + (at - sizes[end]) / 3)
    else:
        above = bisect_left(sizes, at)
        share = (at - sizes[above - 1]) / (sizes[above] - sizes[above - 1])
        wanted = math.exp(widths[above - 1] + share * (widths[above] - widths[above - 1]))
    step = next(step for least, step in STEPS if wanted >= least)
    return max(step * round(wanted / step), step)
