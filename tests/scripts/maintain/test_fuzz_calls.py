"""Wrong types: a bounded part of what the script tries, of every function and parameter."""

import inspect
import os

import pytest

import roofline

from ...maintain import script

fuzz_calls = script("fuzz_calls")
SLOW = {"layouts", "plan", "Terms"}  # a search each


@pytest.mark.parametrize("name", fuzz_calls.CALLS)
def test_wrong_types_end_in_one_sentence(name):
    tries = list(fuzz_calls.attempts({name: fuzz_calls.CALLS[name]}))
    failed = [
        f"{parameter}={words}: {type(error).__name__}: {error}"
        for _, parameter, words, call in tries[:: 17 if name in SLOW else 5]
        if (error := fuzz_calls.tried(call)) is not None
    ]
    assert failed == []


def test_every_exported_function_is_tried():
    functions = {name for name in roofline.__all__ if inspect.isroutine(getattr(roofline, name))}
    assert functions - {"__version__"} <= set(fuzz_calls.CALLS)


@pytest.mark.parametrize("odd", [1, True, 1.5, [], b"x"])
def test_a_number_is_no_path_and_closes_no_file(odd):
    """`open(1)` is standard output, closed when its file object goes."""
    for call in (roofline.detect, roofline.read_run, roofline.validate_runs, roofline.load_device, roofline.load_model):
        with pytest.raises(roofline.RooflineError):
            call(odd)
    os.fstat(1)


def test_unknown_missing_and_doubled_arguments_are_told():
    device = roofline.load_device("h100-sxm-80gb")
    with pytest.raises(roofline.RooflineError, match="unknown argument of override: 'memory_gb': did you mean 'memory"):
        roofline.override(device, memory_gb=80)
    with pytest.raises(roofline.RooflineError, match="accounting needs seq_len as well"):
        roofline.accounting("gpt2")
    with pytest.raises(roofline.RooflineError, match="overrides is given twice"):
        roofline.load_model("gpt2", {}, overrides={})
    with pytest.raises(roofline.RooflineError, match="devices takes vendor, kind by place, got 3"):
        roofline.devices("NVIDIA", "gpu", "x")


@pytest.mark.parametrize("factors", [(1, 2), (1.3, 1.0, 2.0), "abc", (0.5, 1, 2), 1.3])
def test_factors_of_a_plan_rise_from_one(factors):
    with pytest.raises(roofline.RooflineError, match="overhead"):
        roofline.plan("gpt2", "h100-sxm-80gb", tokens="1B", num_devices=1, terms=roofline.Terms(overhead=factors))
