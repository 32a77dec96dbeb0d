"""Every rule of a device file catches what it is for."""

import msgspec
import pytest

from roofline.hardware import load_device
from roofline.hardware.check.rules import figure_problems, named_peaks, named_sources, problems
from roofline.hardware.device import Device

L4 = load_device("l4")


def changed(**change: object) -> Device:
    return msgspec.structs.replace(L4, **change)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (changed(id="My L4"), "id = 'My L4': lower-case letters, digits, dots and dashes"),
        (changed(architecture="zzz"), "architecture = 'zzz': unknown; one of a64fx, ada, "),
        (changed(architecture="adda"), "architecture = 'adda': unknown, did you mean 'ada'?"),
        (changed(variant="gamer"), "variant = 'gamer': ada has no such variant (allowed: pro, geforce, l40)"),
        (changed(name="two\nlines"), "must be text on one line"),
        (changed(nvml_names=(" ",)), "nvml_names = ' ': must be text on one line"),
        (changed(compute_capability="89"), 'must be "major.minor", e.g. "9.0"'),
        (changed(units=0), "units = 0: must be a positive number"),
        (changed(sources={**L4.sources, "vendor": "x"}), "name a document, a repository or a measurement"),
        (changed(sources={}), "peak.fp64.source = 'vendor': no such key in [sources] (there: none)"),
        (changed(peak={}), "peak = {}: at least one dtype"),
    ],
)
def test_a_rule_catches_its_mistake(device: Device, said: str) -> None:
    found = [str(problem) for problem in figure_problems(device)]
    assert any(said in line for line in found), found


def test_a_sparse_peak_is_refused_and_the_dense_one_named() -> None:
    sparse = msgspec.structs.replace(L4.peak["bf16"], tflops=242.0)
    found = [str(problem) for problem in problems(changed(peak={**L4.peak, "bf16": sparse}))]
    assert any("peak.bf16.tflops = 242: is the 2x sparse figure; the dense one is 121" in line for line in found)


def test_every_figure_and_peak_is_named_once() -> None:
    keys = [key for key, _ in named_sources(L4)]
    assert keys.count("memory.bandwidth") == 1
    assert {"peak.bf16", "memory.capacity", "links.pcie", "clock", "node", "power", "best_matmul"} <= set(keys)
    assert [key for key, _ in named_peaks(L4)][-1] == "other_peaks.bf16"


def test_a_measured_figure_out_of_range_is_a_problem_too() -> None:
    gemm = msgspec.structs.replace(L4.measured.gemm, cap=1.5)
    device = changed(measured=msgspec.structs.replace(L4.measured, gemm=gemm))
    assert [str(problem) for problem in problems(device)] == ["measured.gemm.cap = 1.5: must be above 0 and at most 1"]
