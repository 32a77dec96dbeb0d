"""Matmuls of a chunked recurrence, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.counting.recurrence import mix_linearly
from roofline.model.spec import Recurrence

T, HEADS, C, DK, DV = 128, 4, 16, 8, 32


class Notes:
    """A tape that keeps what it is told."""

    def __init__(self) -> None:
        self.tokens, self.es, self.train = T, 2, SimpleNamespace(tp=1)
        self.matmuls: dict[str, tuple[float, ...]] = {}
        self.chains: dict[str, float] = {}

    def batched_matmul(self, name: str, *sizes: float, saves: float) -> None:
        self.matmuls[name] = (*sizes, saves)

    def elementwise(self, name: str, elements: float, *_: Any, **__: Any) -> None:
        self.chains[name] = elements


def mixed(kind: Any) -> Notes:
    tape: Any = Notes()
    mix_linearly(tape, (), Recurrence(kind=kind, n_heads=HEADS, key_dim=DK, value_dim=DV, chunk=C))
    return tape


@pytest.mark.parametrize(("kind", "numbers"), [("ssd", (1, 1, 2)), ("delta", (2, 1, 3)), ("lightning", (1, 1, 2))])
def test_within_a_chunk_as_attention_and_between_chunks_through_the_state(kind: str, numbers: tuple[int, ...]) -> None:
    chunks = T // C * HEADS  # 32
    found = {name: sizes[:4] for name, sizes in mixed(kind).matmuls.items()}
    assert found == {
        "recurrence.scores": (chunks * numbers[0], C, DK, C),
        "recurrence.weighted": (chunks * numbers[1], C, C, DV),
        "recurrence.state": (chunks * numbers[2], C, DK, DV),
    }
    assert mixed(kind).matmuls["recurrence.state"][4] == chunks * DK * DV * 4  # states are kept in fp32


def test_a_scan_is_one_chain_over_its_channels() -> None:
    tape = mixed("scan")
    assert tape.matmuls == {}
    assert tape.chains == {"recurrence.scan": T * HEADS}


def test_without_a_core_there_is_nothing() -> None:
    tape: Any = Notes()
    mix_linearly(tape, (), None)
    assert not tape.matmuls
    assert not tape.chains
