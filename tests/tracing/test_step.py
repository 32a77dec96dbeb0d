import json

import pytest

import roofline
from roofline.counting.op import Op
from roofline.tracing.recorder import Trace
from roofline.tracing.step import estimate_trace, step_of_trace, traced_config


def op(name, phase, **extra):
    fields = {"kind": "matmul", "part": "layer", "dtype": "bf16", "shape": (1024, 1024, 1024, 1)}
    fields |= {"flops": 2 * 1024**3, "bytes_read": 4 * 1024**2, "bytes_written": 2 * 1024**2}
    return Op(name=name, phase=phase, **(fields | extra))


@pytest.fixture
def small():
    """One linear layer [1024, 1024] on 1024 rows, and a frozen table of 5000 parameters beside it."""
    return Trace(
        name="Small",
        ops=(
            op("fc.mm", "forward"),
            op("fc.mm.dgrad", "backward"),
            op("fc.mm.wgrad", "backward", shape=(1024, 1024, 1024, 1)),
        ),
        parameters=1024 * 1024 + 5000,
        trainable_parameters=1024 * 1024,
        activation_bytes=2 * 1024 * 1024,
        peak_bytes=3 * 1024 * 1024,
        by_module={},
    )


def test_mfu_counts_the_matmuls_of_the_pass(small):
    device = roofline.load_device("h100-sxm-80gb")
    result = estimate_trace(small, device, traced_config({}))
    assert result.model_flops_per_step == 3 * 2 * 1024**3
    assert result.mfu == pytest.approx(result.model_flops_per_step / result.step_time_s / 989.4e12)
    assert 0 < result.mfu <= result.hfu < 1


def test_memory_counts_what_the_pass_keeps_and_what_trains(small):
    device = roofline.load_device("h100-sxm-80gb")
    used = estimate_trace(small, device, traced_config({"stack": "megatron"})).memory
    assert used.activations_bytes == small.peak_bytes
    assert used.weights_bytes == 2 * small.parameters
    assert used.optimizer_bytes == 12 * small.trainable_parameters


def test_accumulation_repeats_the_pass(small):
    device = roofline.load_device("h100-sxm-80gb")
    once, four = (estimate_trace(small, device, traced_config({"global_batch": n})) for n in (1, 4))
    assert four.model_flops_per_step == 4 * once.model_flops_per_step


def test_data_parallel_reduces_what_trains(small):
    step = step_of_trace(small, traced_config({"num_devices": 8}))
    reduced = [item for item in step.ops if item.kind == "collective"]
    assert len(reduced) == 1
    assert reduced[0].bytes_sent in {2 * small.trainable_parameters, 4 * small.trainable_parameters}


@pytest.mark.parametrize("name", ["tp", "micro_batch", "seq_len", "recompute"])
def test_options_of_transformers_are_refused(name):
    with pytest.raises(roofline.RooflineError, match=f"--{name.replace('_', '-')} does not apply"):
        traced_config({name: 2})


def test_a_file_on_the_command_line(run, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\n"
        "def build():\n"
        "    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())\n"
        "    return net, torch.randn(64, 3, 32, 32)\n"
    )
    status, out, err = run("estimate", f"{path}:build", "-d", "h100-sxm-80gb", "--format", "json")
    assert (status, err) == (0, "")
    assert json.loads(out)["step_time_s"] > 0
    out = run("estimate", f"{path}:build", "-d", "h100-sxm-80gb").out
    assert "pass(es) of the example inputs a step" in out
