"""The model and the device as they are typed, and as objects."""

import argparse

import pytest

from roofline import units
from roofline.commands import options
from roofline.errors import RooflineError
from roofline.model.load import OnNumbers


def parsed(*words: str, repeatable: bool = False) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    options.add_model_arguments(parser)
    options.add_device_arguments(parser, repeatable=repeatable)
    return parser.parse_args(words)


def test_figures_of_a_model_are_changed():
    assert options.model(parsed("gpt2", "--set", "n_layers=6")).n_layers == 6
    with pytest.raises(RooflineError, match="does not apply to a traced module"):
        options.model(parsed("file.py:build", "--set", "n_layers=6"))
    assert options.model(parsed("file.py:build")) == "file.py:build"  # yet to be traced


def test_a_module_to_be_traced_may_run_on_numbers():
    assert isinstance(options.model(parsed("file.py:build", "--real")), OnNumbers)
    with pytest.raises(RooflineError, match=r"--real is for a module to be traced, .*, and 'gpt2' is none"):
        options.model(parsed("gpt2", "--real"))


@pytest.mark.parametrize("text", ["n_layers", "=3", "n_layers=", " = "])
def test_no_change_of_a_figure(text):
    with pytest.raises(units.UnitError, match="is not KEY=VALUE"):
        options.override(text)


def test_figures_of_a_device_are_changed():
    device = options.device(parsed("gpt2", "-d", "a100-sxm-80gb", "--peak-tflops", "fp32=20", "--bandwidth", "2000"))
    assert (device.peaks["fp32"], device.memory_bandwidth_bytes_per_s) == (20e12, 2000e9)
    assert device.peaks["bf16"] == 312e12
    unnamed = options.device(parsed("gpt2", "-d", "a100-sxm-80gb", "--peak-tflops", "300", "--memory", "40GiB"))
    assert (unnamed.peaks["bf16"], unnamed.memory_bytes) == (300e12, 40 * 2**30)  # of the dtype trained in


def test_a_peak_far_above_the_catalogs_is_refused():
    with pytest.raises(RooflineError, match="2:4-sparse figure; dense is 312 TFLOP/s"):
        options.device(parsed("gpt2", "-d", "a100-sxm-80gb", "--peak-tflops", "624"))
    with pytest.raises(RooflineError, match=r"bf16=500 is 1.6 x the dense peak of a100-sxm-80gb \(312 TFLOP/s\)"):
        options.device(parsed("gpt2", "-d", "a100-sxm-80gb", "--peak-tflops", "500"))


def test_one_device_or_several():
    both = parsed("gpt2", "-d", "t4, a100-sxm-80gb", "-d", "h100-sxm-80gb", repeatable=True)
    assert [device.id for device in options.devices(both)] == ["t4", "a100-sxm-80gb", "h100-sxm-80gb"]
    with pytest.raises(RooflineError, match="give one device; 'roofline compare' puts several"):
        options.device(parsed("gpt2", "-d", "t4,a100-sxm-80gb"))
    with pytest.raises(RooflineError, match="missing --device"):
        options.device(parsed("gpt2"))
    with pytest.raises(argparse.ArgumentError, match="given twice"):
        parsed("gpt2", "-d", "t4", "-d", "a100-sxm-80gb")


def test_only_fields_that_were_given_are_options():
    args = argparse.Namespace(micro_batch=2, tp=None, dropout=False, model="gpt2")
    assert options.train_options(args) == {"micro_batch": 2, "dropout": False}
