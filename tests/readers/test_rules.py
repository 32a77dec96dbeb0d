"""Values in a sentence are short."""

from pathlib import Path
from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.readers.read import read_run
from roofline.readers.rules import short


@pytest.mark.parametrize(
    ("value", "text"), [("text", "text"), (5e-6, "5e-06"), (2.0, "2"), ([1, 2], "[1, 2]"), ("x" * 61, "x" * 57 + "...")]
)
def test_short(value: Any, text: str) -> None:
    assert short(value) == text


MEGATRON = "torchrun pretrain_gpt.py --hidden-size 64 --num-attention-heads 4 --num-layers "


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            MEGATRON + "²",
            r"cannot read stage_layers from num_layers = ²: what is no number stands where one belongs",
        ),
        (MEGATRON + "$N", "layers is \\$N, and nothing sets N: give the file that sets it with --with"),
        (MEGATRON + "$(nproc)", r"layers is \$\(nproc\), which is not run .*: write the value into the file"),
    ],
)
def test_what_cannot_be_computed_is_told_by_key_and_value(script: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.sh"
    path.write_text(script, encoding="utf-8")
    with pytest.raises(RooflineError, match=says):
        read_run(path)
