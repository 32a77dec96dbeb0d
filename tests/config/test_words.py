"""A layout in a few words."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.config.words import layout_words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_devices": 1}, "1 device"),
        ({"num_devices": 8, "dp": 8, "sharding": "none"}, "8 devices: dp 8"),
        (
            {"num_devices": 2048, "tp": 8, "pp": 4, "dp": 64, "vp": 2, "ep": 16, "sharding": "zero1"},
            "2,048 devices: tp 8 x pp 4 x dp 64, 2 virtual stages, experts over 16, zero1",
        ),
        (
            {"num_devices": 4, "tp": 2, "cp": 2, "dp": 1, "sequence_parallel": True},
            "4 devices: tp 2 x cp 2, sequence parallel",
        ),
    ],
)
def test_only_what_is_split_is_said(fields: dict[str, Any], words: str) -> None:
    assert layout_words(TrainConfig(micro_batch=1, seq_len=8, **{"sharding": "none", **fields})) == words
