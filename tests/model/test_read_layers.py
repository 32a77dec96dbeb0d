"""Where a projection belongs follows from its dotted name."""

import pytest

from roofline.model.read_layers import linear


@pytest.mark.parametrize(
    ("name", "d_out", "block", "split"),
    [
        ("attention.gate", 32, "attention", "columns"),
        ("attention.out", 32, "attention", "rows"),
        ("recurrence.convolution", 1, "recurrence", "count"),
        ("convolution.in", 32, "recurrence", "columns"),
        ("anything.else", 32, "other", "none"),
    ],
)
def test_block_and_split(name: str, d_out: int, block: str, split: str) -> None:
    found = linear(name, 16, d_out)
    assert (found.block, found.split) == (block, split)
