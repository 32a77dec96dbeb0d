"""The closed form of what the caching allocator keeps against its rules, tensor by tensor."""

from itertools import count

import pytest

from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.footprint.allocator import CONTEXT_BYTES
from roofline.footprint.parts import memory_for

from ..small import small
from .caching import MIB, CachingAllocator

LAYERS, WIDTH, INNER, KEYS = 8, 4096, 14336, 1024
SEQUENCE = 4096


def test_sizes_of_segments():
    held = CachingAllocator()
    for size, reserved in (
        (1, 2 * MIB),  # the pool of small blocks
        (MIB, 2 * MIB),  # finds room beside it
        (MIB + 1, 22 * MIB),  # 20 MiB for what is between 1 and 10
        (9 * MIB, 22 * MIB),
        (9 * MIB, 22 * MIB),
        (9 * MIB, 42 * MIB),
        (12 * MIB + 1, 56 * MIB),  # multiples of 2 MiB from there on
    ):
        held.make(held.reserved + size + held.live, size)
        assert held.reserved == reserved


def test_freed_blocks_go_to_what_they_hold():
    held = CachingAllocator()
    held.make("large", 64 * MIB)
    held.make("other", 40 * MIB)
    held.drop("large", "other")
    held.make("small", 32 * MIB)  # of the smaller
    held.make("same", 64 * MIB)
    assert held.reserved == 104 * MIB
    held.make("more", 10 * MIB)  # 8 are left of the smaller
    assert held.reserved == 114 * MIB
    held.drop("small", "same")
    held.make("whole", 40 * MIB)  # pieces grow together again
    assert held.reserved == 114 * MIB


class Step:
    """The tensors of one fine-tuning step of a Llama in 16 bits on one device, all layers recomputed.

    Eager as in transformers 4.50: norms in fp32, fp32 logits whose log_softmax is the loss.
    """

    def __init__(self, held: CachingAllocator, sequences: int, vocabulary: int, *, full: bool) -> None:
        self.held, self.full, self.names = held, full, count()
        self.tokens, self.vocabulary = sequences * SEQUENCE, vocabulary
        self.stream, self.inner = self.tokens * WIDTH * 2, self.tokens * INNER * 2
        self.gradients: dict[str, int] = {}

    def new(self, *sizes: float) -> list[int]:
        made = [next(self.names) for _ in sizes]
        for name, size in zip(made, sizes, strict=True):
            self.held.make(name, size)
        return made

    def passing(self, *sizes: float) -> None:
        self.held.drop(*self.new(*sizes))

    def weight_gradient(self, name: str, parameters: int) -> None:
        if self.full:
            self.held.make(name, parameters * 2)
            self.gradients[name] = parameters * 2

    def norm(self, keep: bool) -> tuple[int, list[int]]:
        wide, square = self.new(2 * self.stream, 2 * self.stream)
        self.held.drop(square)
        product, narrow = self.new(2 * self.stream, self.stream)
        self.held.drop(product)
        [result] = self.new(self.stream)
        if keep and self.full:
            return result, [wide, narrow]
        self.held.drop(narrow)
        if keep:
            return result, [wide]
        self.held.drop(wide)
        return result, []

    def forward(self, keep: bool) -> tuple[int, list[int], list[int], list[int]]:
        """A layer: its result, and what its norm and attention, its second norm, its feed-forward block keep."""
        x, attention = self.norm(keep)
        keys = self.tokens * KEYS * 2
        q, k, v = self.new(self.stream, keys, keys)
        [core] = self.new(self.stream)
        if keep:
            attention += [q, k, v, core, *([x] if self.full else [])]
        else:
            self.held.drop(q, k, v)
        [y] = self.new(self.stream)
        [middle] = self.new(self.stream)
        self.held.drop(y, *([] if keep else [core]), *([] if keep and self.full else [x]))
        x, second = self.norm(keep)
        gate, active = self.new(self.inner, self.inner)
        if not keep:
            self.held.drop(gate)
        up, product = self.new(self.inner, self.inner)
        if not keep:
            self.held.drop(active, up)
        [y] = self.new(self.stream)
        kept = [gate, active, up] if keep else []
        if keep and self.full:
            kept += [product, x]
        else:
            self.held.drop(product, x)
        [result] = self.new(self.stream)
        self.held.drop(y, *([] if keep else [middle]))
        return result, attention, [*second, *([middle] if keep else [])], kept

    def backward(self, layer: int, gradient: int) -> int:
        result, attention, second, block = self.forward(keep=True)
        self.held.drop(result)
        [inner] = self.new(self.inner)
        self.weight_gradient(f"{layer}.down", INNER * WIDTH)
        active, up = self.new(self.inner, self.inner)
        self.held.drop(inner)
        [of_up] = self.new(self.stream)
        self.weight_gradient(f"{layer}.up", INNER * WIDTH)
        [gate] = self.new(self.inner)
        self.held.drop(active, up)
        [of_gate] = self.new(self.stream)
        self.weight_gradient(f"{layer}.gate", INNER * WIDTH)
        self.held.drop(gate, *block)
        gradient = self.through_norm(gradient, [of_up, of_gate], second)
        [core] = self.new(self.stream)
        self.weight_gradient(f"{layer}.out", WIDTH * WIDTH)
        keys = self.tokens * KEYS * 2
        q, k, v = self.new(self.stream, keys, keys)
        self.passing(2 * self.stream)
        self.held.drop(core)
        of_q, of_k, of_v = self.new(self.stream, self.stream, self.stream)
        for name, outputs in (("v", KEYS), ("k", KEYS), ("q", WIDTH)):
            self.weight_gradient(f"{layer}.{name}", WIDTH * outputs)
        self.held.drop(q, k, v, of_v)
        return self.through_norm(gradient, [of_q, of_k], attention)

    def through_norm(self, gradient: int, parts: list[int], kept: list[int]) -> int:
        [total] = self.new(self.stream)
        self.held.drop(*parts)
        wide, other, square = self.new(*[2 * self.stream] * 3)
        [third] = self.new(2 * self.stream)
        self.held.drop(wide, other, square, total)
        [narrow] = self.new(self.stream)
        self.held.drop(third, *kept)
        [result] = self.new(self.stream)
        self.held.drop(narrow, gradient)
        return result

    def loss(self) -> int:
        x, kept = self.norm(keep=True)
        logits = self.tokens * self.vocabulary * 2
        narrow, wide, log = self.new(logits, 2 * logits, 2 * logits)
        self.held.drop(wide, narrow)  # nobody needs what the model returned any more
        of_log, of_wide = self.new(2 * logits, 2 * logits)
        self.held.drop(of_log, log)
        [gradient] = self.new(logits)
        self.held.drop(of_wide)
        [result] = self.new(self.stream)
        self.weight_gradient("head", WIDTH * self.vocabulary)
        self.held.drop(gradient, x)
        [top] = self.new(self.stream)
        return self.through_norm(top, [result], kept)

    def run(self, *, first: bool) -> None:
        inputs = self.new(self.stream)
        for _ in range(LAYERS):
            inputs.append(self.forward(keep=False)[0])
        gradient = self.loss()
        self.held.drop(inputs.pop())
        for layer in range(LAYERS):
            gradient = self.backward(layer, gradient)
            self.held.drop(inputs.pop())
        self.weight_gradient("embedding", WIDTH * self.vocabulary)
        self.held.drop(gradient)
        if first:
            for name, size in self.gradients.items():
                self.held.make(f"{name} mean", size)
                self.held.make(f"{name} square", size)
        self.passing(*self.gradients.values())
        self.held.drop(*self.gradients)
        self.gradients = {}


def simulated(sequences: int, vocabulary: int, *, full: bool) -> CachingAllocator:
    held = CachingAllocator()
    held.make("embedding weight", WIDTH * vocabulary * 2)
    held.make("head weight", WIDTH * vocabulary * 2)
    for layer in range(LAYERS):
        for name, outputs in (("q", WIDTH), ("k", KEYS), ("v", KEYS), ("o", WIDTH), *((n, INNER) for n in "gud")):
            held.make(f"{layer}.{name} weight", WIDTH * outputs * 2)
    for first in (True, False, False):
        Step(held, sequences, vocabulary, full=full).run(first=first)
    return held


@pytest.mark.parametrize("vocabulary", [32_000, 128_000])
@pytest.mark.parametrize("sequences", [2, 4, 8])
@pytest.mark.parametrize("full", [False, True], ids=["adapters", "full"])
def test_what_stays_reserved(full, sequences, vocabulary):
    held = simulated(sequences, vocabulary, full=full)
    sizes = {"n_layers": LAYERS, "d_model": WIDTH, "n_heads": 32, "n_kv_heads": 8, "d_ff": INNER}
    model = small(**sizes, vocab_size=vocabulary, tied_embeddings=False)
    options = {"train": "full", "master_weights": False, "optimizer": "adamw"} if full else {"train": "lora"}
    train = train_config(
        {
            **options,
            "stack": "hf-trainer@4.50",
            "seq_len": SEQUENCE,
            "micro_batch": sequences,
            "recompute": "full",
            "attention": "flash2",
        }
    )
    memory = memory_for(build_step(model, train), 0)
    reserved = memory.driver_bytes - CONTEXT_BYTES
    assert memory.allocated_bytes == pytest.approx(held.most_live, rel=0.03)
    assert reserved == pytest.approx(held.reserved, rel=0.1)
