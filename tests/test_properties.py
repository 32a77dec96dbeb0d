"""What must hold for every device, preset and kind of number, whatever the constants are."""

import json
import random

import numpy as np
import pytest

import roofline
from roofline import load_device
from roofline.hardware.overrides import override
from roofline.model.huggingface import model_from_config

from .records import records

SLACK = 1 + 1e-9
SIZES = {"n_layers": 4, "vocab_size": 8192}  # every kind of kernel, in milliseconds


def step_time(device, dtype, **options):
    """Seconds of a step of experts on two nodes, one layout that sends everything a layout can send."""
    model = roofline.load_model("mixtral-8x7b", SIZES)
    train = {"micro_batch": 1, "dtype": dtype}
    if device.links:
        pair = 2 if device.devices_per_node % 2 == 0 else 1
        devices = 4 * device.devices_per_node
        train |= {"num_devices": devices, "global_batch": devices, "tp": pair, "pp": 2, "sharding": "zero1"}
        train |= {"network_gbit_per_s": 100, **options}
    return roofline.estimate(model, device, **train).step_time_s


# two devices whose chips have no matrix engine that is documented
KNOWN = [
    device_id for device_id in roofline.device_ids() if {"bf16", "fp16", "fp32"} & load_device(device_id).peaks.keys()
]


@pytest.mark.parametrize("device_id", KNOWN)
def test_a_better_device_is_never_slower(device_id):
    device = load_device(device_id)
    dtype = next(dtype for dtype in ("bf16", "fp16", "fp32") if dtype in device.peaks)
    base = step_time(device, dtype)
    assert base > 0
    peak = device.peak_flops_per_s(dtype) / 1e12
    bandwidth = device.memory_bandwidth_bytes_per_s / 1e9
    better = {
        "peak": override(device, peak_tflops={dtype: 1.2 * peak}),
        "bandwidth": override(device, bandwidth_gb_per_s=1.2 * bandwidth),
        "memory": override(device, memory_gib=2 * device.memory_bytes / 2**30),
    }
    slower = {what: step_time(changed, dtype) / base for what, changed in better.items()}
    slower["network"] = step_time(device, dtype, network_gbit_per_s=400) / base
    assert {what: ratio for what, ratio in slower.items() if ratio > SLACK} == {}
    assert slower["memory"] == pytest.approx(1, rel=1e-9)  # more of it changes whether a model fits, not how fast


@pytest.mark.parametrize("device_id", KNOWN)
def test_more_memory_never_fits_less(device_id):
    device = load_device(device_id)
    more = override(device, memory_gib=2 * device.memory_bytes / 2**30)
    dtype = next(dtype for dtype in ("bf16", "fp16", "fp32") if dtype in device.peaks)
    known, doubled = (roofline.memory("gpt2-medium", which, dtype=dtype, micro_batch=1) for which in (device, more))
    assert doubled.max_micro_batch >= known.max_micro_batch
    assert doubled.total_bytes == pytest.approx(known.total_bytes, rel=0.2)


def command_of(preset):
    """A command line for a preset: which one follows from its name, so that every run is the same."""
    draw = random.Random(preset)  # noqa: S311
    device = draw.choice(["h100-sxm-80gb", "a100-sxm-40gb", "tpu-v5p", "mi300x", "rtx-4090"])
    return draw.choice([
        ("count", preset),
        ("models", preset),
        ("memory", preset, "-d", device),
        ("estimate", preset, "-d", device, "--recompute", draw.choice(["none", "selective", "full"])),
        ("compare", preset, "-d", device, "--micro-batch", "1,2"),
        ("layouts", preset, "-d", device, "--num-devices", "64", "--top", "1"),
        ("plan", preset, "-d", device, "--num-devices", "64", "--tokens", "1T"),
        ("mfu", preset, "-d", device, "--tokens-per-s", "100"),
    ])  # fmt: skip


@pytest.mark.parametrize("preset", roofline.model_ids())
def test_every_preset_through_some_command(run, preset):
    """An answer, or one line that says why there is none."""
    status, out, err = run(*command_of(preset), "--format", "json")
    assert status in {0, 2, 3}
    if status == 2:
        assert (out, err.count("\n")) == ("", 1)
    else:
        assert json.loads(out)


@pytest.mark.parametrize(
    "layout", [{}, {"tp": 4}, {"pp": 4}, {"sharding": "zero3"}, {"ep": 4}, {"tp": 2, "cp": 2, "pp": 2}]
)
def test_the_work_is_the_same_however_it_is_split(layout):
    """Model FLOPs of a step do not depend on the layout; the parts of memory add up in each."""
    model = roofline.load_model("mixtral-8x7b", SIZES)
    train = {"num_devices": 8, "global_batch": 8, "micro_batch": 1, "stack": "megatron", **layout}
    result = roofline.estimate(model, "h100-sxm-80gb", **train)
    alone = roofline.estimate(model, "h100-sxm-80gb", micro_batch=1, global_batch=8, stack="megatron")
    assert result.model_flops_per_step == alone.model_flops_per_step
    assert result.hardware_flops_per_step >= result.model_flops_per_step * 0.5  # causal kernels skip half of attention
    assert 1 - sum(step.lost for step in result.waterfall) == pytest.approx(result.mfu)


DENSE = roofline.load_model("llama-3-8b", {"n_layers": 8, "vocab_size": 8192})
EXPERTS = roofline.load_model("mixtral-8x7b", {"n_layers": 8, "vocab_size": 8192})
TOWERS = model_from_config(records("tower_flops.jsonl")[0]["config"])
PIPELINE = {"num_devices": 8, "pp": 4, "global_batch": 32, "stack": "megatron"}
SPLIT = {"num_devices": 8, "tp": 2, "global_batch": 32, "stack": "megatron"}
SHARDED = {"num_devices": 8, "sharding": "zero3", "global_batch": 32, "stack": "deepspeed"}
ALONE = {"global_batch": 32}
RUNS = {
    **{word: (DENSE, {**PIPELINE, "schedule": word}) for word in ("gpipe", "1f1b", "zb-h1", "zb-2p", "dualpipe")},
    **{word: (DENSE, {**PIPELINE, "schedule": word, "vp": 2}) for word in ("interleaved", "zb-v")},
    "dualpipe of experts": (EXPERTS, {**PIPELINE, "schedule": "dualpipe", "ep": 2}),
    **{
        f"recompute {words}": (DENSE, {**SPLIT, "recompute": words})
        for words in ("selective", "full", "full:4", "uniform:2", "mlp", "core_attn,layernorm")
    },
    "adapters": (DENSE, {**ALONE, "train": "lora"}),
    "adapters on 4 bits": (DENSE, {**ALONE, "train": "qlora", "stack": "hf-trainer"}),
    "optimizer in the host": (DENSE, {**SHARDED, "offload": "optimizer"}),
    "all in the host": (DENSE, {**SHARDED, "offload": "all"}),
    "all on a disk": (DENSE, {**SHARDED, "offload": "all", "offload_to": "nvme", "nvme_gb_per_s": 5}),
    "fp8": (DENSE, {**SPLIT, "dtype": "fp8"}),
    "context": (DENSE, {**SPLIT, "tp": 1, "cp": 4}),
    "towers": (TOWERS, ALONE),
    "towers that stay": (TOWERS, {**ALONE, "freeze": "towers"}),
}


def of_run(run, device="h100-sxm-80gb", **more):
    model, options = RUNS[run]
    return roofline.estimate(model, device, **{"micro_batch": 1, **options, **more})


@pytest.mark.parametrize("run", RUNS)
def test_nothing_is_lost_on_the_way(run):
    """The waterfall ends at the MFU, the parts of memory are its sum, and model FLOPs are those of one device."""
    result = of_run(run)
    assert result.step_time_low_s <= result.step_time_s <= result.step_time_high_s
    assert result.ideal_step_time_s <= result.step_time_s
    assert 1 - sum(step.lost for step in result.waterfall) == pytest.approx(result.mfu, rel=1e-9)
    parts = ("weights", "gradients", "optimizer", "activations", "logits", "communication", "context")
    memory = result.memory
    assert sum(getattr(memory, f"{part}_bytes") for part in parts) == pytest.approx(memory.total_bytes, rel=1e-12)
    model, options = RUNS[run]
    trained = {name: options[name] for name in ("train", "freeze") if name in options}
    alone = roofline.estimate(model, "h100-sxm-80gb", micro_batch=1, **ALONE, **trained)
    assert result.model_flops_per_step == alone.model_flops_per_step


@pytest.mark.parametrize("run", RUNS)
def test_no_run_is_slower_on_something_better(run):
    device = load_device("h100-sxm-80gb")
    better = {
        "peak": override(device, peak_tflops={dtype: 1.2 * peak / 1e12 for dtype, peak in device.peaks.items()}),
        "bandwidth": override(device, bandwidth_gb_per_s=1.2 * device.memory_bandwidth_bytes_per_s / 1e9),
        "memory": override(device, memory_gib=2 * device.memory_bytes / 2**30),
        "link": override(device, link_gb_per_s=1.2 * device.links["scale_up"].gb_per_s),
    }
    base = of_run(run).step_time_s
    assert {what: ratio for what, d in better.items() if (ratio := of_run(run, d).step_time_s / base) > SLACK} == {}
    if "offload" in RUNS[run][1]:
        slow, fast = (of_run(run, host_gb_per_s=rate).step_time_s for rate in (10, 40))
        assert fast <= slow


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("run", ["zb-v", "dualpipe of experts", "recompute full:4", "adapters on 4 bits", "towers"])
def test_an_array_of_any_kind_gives_what_its_numbers_give(run, dtype):
    batches = [1, 2, 4]
    together = of_run(run, micro_batch=np.array(batches, dtype=dtype))
    alone = [of_run(run, micro_batch=batch) for batch in batches]
    assert together.step_time_s == pytest.approx([each.step_time_s for each in alone], rel=1e-12)
    assert together.memory.total_bytes == pytest.approx([each.memory.total_bytes for each in alone], rel=1e-12)
