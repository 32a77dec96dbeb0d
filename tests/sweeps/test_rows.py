"""Cases that are worked out together have the figures, the words and the refusals that each has alone."""

import math

import numpy as np
import pytest

from roofline.answers.comparison import Sweep
from roofline.answers.estimate import estimate
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.result import plain
from roofline.sweeps import rows
from roofline.view.estimate import record

NUMBERS = {
    "num_devices": (8, 16, 24),
    "tp": (1, 2, 5),
    "pp": (1, 2),
    "cp": (1, 2),
    "micro_batch": (1, 2),
    "global_batch": (48, 64),
    "seq_len": (512, 1024, 8192),
}
WORDS = {  # of a model
    "llama-3.2-1b": {"recompute": ("none", "full")},
    "gpt2-xl": {"sharding": ("zero1", "fsdp"), "optimizer": ("adamw", "muon")},
    "mixtral-8x7b": {"ep": (1, 2, 4), "sequence_parallel": (True, False)},
    "gemma-2-9b": {"stack": ("nemo", "deepspeed"), "vp": (1, 2)},
    "qwen2.5-vl-7b": {"offload": ("optimizer",)},
}


def alone(case):
    """The row of a case, or what refuses it."""
    try:
        found = record(estimate(case.model, case.device, **case.options))
    except RooflineError as error:
        return str(error)
    return {name: str(plain(value)) if isinstance(value, tuple) else value for name, value in found.items()}


@pytest.mark.parametrize("preset", WORDS)
def test_rows_of_many_cases_are_those_of_each(preset):
    sweep = Sweep((load_model(preset),), (load_device("h100-sxm-80gb"),), {**NUMBERS, **WORDS[preset]})
    every = list(sweep.between(0, len(sweep)))
    cases = [every[place] for place in np.sort(np.random.default_rng(1).permutation(len(sweep))[:100]).tolist()]
    found = rows.rows_of(cases)
    expected = [alone(case) for case in cases]
    refused = [each for each in expected if isinstance(each, str)]
    assert (found.refused, found.reason) == (len(refused), refused[0])
    assert found.written > 10
    kept = [each for each in expected if not isinstance(each, str)]
    for name, values in found.columns.items():
        for value, row in zip(values, kept, strict=True):
            same = value == row[name] or (isinstance(value, float) and math.isclose(value, row[name], rel_tol=1e-12))
            assert same, (name, value, row)


def test_most_are_worked_out_together(monkeypatch):
    calls = []
    monkeypatch.setattr(rows, "estimate", lambda *args, **options: calls.append(1) or estimate(*args, **options))
    numbers = {name: values for name, values in NUMBERS.items() if name != "cp"}
    sweep = Sweep((load_model("llama-3.2-1b"),), (load_device("h100-sxm-80gb"),), numbers)
    found = rows.rows_of(list(sweep.between(0, len(sweep))))
    assert found.written + found.refused == 216
    assert len(calls) < 216 / 8


def test_a_batch_that_nobody_says_is_chosen_for_each():
    sweep = Sweep((load_model("gpt2"),), (load_device("t4"),), {"seq_len": (256, 512, 1024)})
    cases = list(sweep.between(0, len(sweep)))
    assert rows.rows_of(cases).columns["micro_batch"] == [alone(case)["micro_batch"] for case in cases]


@pytest.mark.parametrize(
    ("value", "kind", "typed"),
    [
        (True, float, 1.0),
        (3, float, 3.0),
        (None, float, None),
        (math.inf, float, None),
        ((), str, "[]"),
        (("a", "b"), str, "['a', 'b']"),
        (1.5, str, "1.5"),
        (np.array([1.0, 2.0]), int, [1, 2]),
        (np.array([1.0, math.nan]), float, [1.0, None]),
        (np.array(["a", "bc"]), str, ["a", "bc"]),
    ],
)
def test_a_column_has_one_type(value, kind, typed):
    found = rows._typed(value, kind)
    found = found.tolist() if hasattr(found, "tolist") else found
    assert found == typed
    assert all(each is None or type(each) is kind for each in (found if isinstance(found, list) else [found]))
