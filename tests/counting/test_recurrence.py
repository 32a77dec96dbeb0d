"""Matmuls of a chunked recurrence, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.counting.recurrence import mix_linearly
from roofline.model.spec import Recurrence

T, HEADS, KEY_HEADS, C, DK, DV = 128, 4, 2, 16, 8, 32


class Notes:
    """A tape that keeps what it is told."""

    def __init__(self) -> None:
        self.tokens, self.es, self.train = T, 2, SimpleNamespace(tp=1)
        self.matmuls: dict[str, tuple[float, ...]] = {}
        self.chains: dict[str, float] = {}
        self.kept: dict[str, float] = {}
        self.kernels: set[str] = set()

    def batched_matmul(self, name: str, *sizes: float, saves: float) -> None:
        self.matmuls[name] = (*sizes, saves)

    def elementwise(self, name: str, elements: float, *_: Any, saves: float = 0, **__: Any) -> None:
        self.chains[name], self.kept[name] = elements, saves

    def fused(self, what: str) -> bool:
        return what in self.kernels


def mixed(kind: Any, **more: Any) -> Notes:
    tape: Any = Notes()
    sizes: dict[str, int] = {"n_heads": HEADS, "key_heads": KEY_HEADS, "key_dim": DK, "value_dim": DV, "chunk": C}
    mix_linearly(tape, (), Recurrence(kind=kind, **sizes, **more))
    return tape


@pytest.mark.parametrize(
    ("kind", "numbers"), [("ssd", (1, 1, 2)), ("delta", (2, 1, 3)), ("lightning", (1, 1, 2)), ("matrix", (1, 1, 2))]
)
def test_within_a_chunk_as_attention_and_between_chunks_through_the_state(kind: str, numbers: tuple[int, ...]) -> None:
    chunks = T // C * HEADS  # 32
    found = {name: sizes[:4] for name, sizes in mixed(kind).matmuls.items()}
    assert found == {
        "recurrence.scores": (chunks * numbers[0], C, DK, C),
        "recurrence.weighted": (chunks * numbers[1], C, C, DV),
        "recurrence.state": (chunks * numbers[2], C, DK, DV),
    }


def test_what_each_core_keeps() -> None:
    def kept(kind: str) -> list[float]:
        tape = mixed(kind)
        return [sizes[4] for sizes in tape.matmuls.values()] + [tape.kept["recurrence.decay"]]

    keys, values = T * KEY_HEADS * 2 * DK * 2, T * HEADS * (C + DV) * 2  # with scores within the chunk
    assert kept("delta") == [keys, values, 0, T * HEADS * (4 + 2)]  # a decay in fp32, a step
    assert kept("lightning") == [keys, values, T // C * HEADS * DK * DV * 4, 0]  # a chain: states in fp32
    # queries, keys and values; two gates, a normalizer and a maximum
    assert kept("matrix") == [keys, T * HEADS * DV * 2, 0, T * HEADS * 2 * (2 + 4)]
    assert kept("ssd") == [0, 0, 0, T * HEADS * (DV + 1) * 2]  # its kernel holds convolution and norm: gate and step


def test_a_norm_with_a_gate_is_a_chain_in_fp32_or_one_kernel() -> None:
    elements = T * HEADS * DV
    for kind, each in (("delta", 3 * 4 + 2 * 2), ("lightning", 4 + 3 * 2)):
        tape = mixed(kind, gated_norm=True)
        assert (tape.chains["recurrence.gated_norm"], tape.kept["recurrence.gated_norm"]) == (elements, elements * each)
    assert "recurrence.gated_norm" not in mixed("ssd", gated_norm=True).chains


def test_a_scan_is_one_chain_over_its_channels() -> None:
    tape = mixed("scan")
    assert tape.matmuls == {}
    assert tape.chains == {"recurrence.scan": T * HEADS}


def test_without_a_core_there_is_nothing() -> None:
    tape: Any = Notes()
    mix_linearly(tape, (), None)
    assert not tape.matmuls
    assert not tape.chains
