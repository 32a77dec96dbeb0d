"""The whole path: bounds, sums, monotony, and arrays against numbers, over models, devices and layouts."""

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from roofline.answers.estimate import estimate, estimate_step
from roofline.config.recompute import RECOMPUTES
from roofline.config.run import ATTENTIONS
from roofline.config.settle import resolve, train_config
from roofline.config.sharding import SHARDINGS
from roofline.config.stack import stack_names
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.footprint.parts import PARTS
from roofline.hardware import all_devices, load_device, override
from roofline.model.load import load_model, model_from_flat
from roofline.timing.ranks import price
from roofline.timing.terms import TERMS

from ..small import flat

FLAT = flat(
    name="dense", n_layers=8, d_model=512, n_heads=8, n_kv_heads=4, d_ff=1536, vocab_size=3200, max_seq_len=2048
)
EXPERTS = {**FLAT, "name": "experts", "n_experts": 8, "experts_per_token": 2}
MODELS = (
    model_from_flat(FLAT),
    model_from_flat({**FLAT, "name": "tied", "tied_embeddings": True, "gated_mlp": False, "learned_positions": 2048}),
    model_from_flat(EXPERTS),
    model_from_flat({**FLAT, "name": "window", "window": 256}),
    load_model("gemma-3-1b"),
    load_model("deepseek-v2-lite"),
    load_model("t5-base"),
)
DEVICES = tuple(device for device in all_devices() if device.kind != "cpu")
H100 = load_device("h100-sxm-80gb")

degrees = st.fixed_dictionaries(
    {
        "tp": st.sampled_from([1, 2, 4, 8]),
        "pp": st.sampled_from([1, 2, 4]),
        "cp": st.sampled_from([1, 2]),
        "vp": st.sampled_from([1, 2]),
        "ep": st.sampled_from([1, 2, 8]),
        "dp": st.sampled_from([1, 2, 3, 16]),
        "micro_batch": st.integers(1, 4),
        "accumulation": st.integers(1, 5),
        "seq_len": st.sampled_from([128, 512]),
    }
)
words = st.fixed_dictionaries(
    {
        "sharding": st.sampled_from(tuple(SHARDINGS)),
        "sequence_parallel": st.booleans(),
        "recompute": st.sampled_from(RECOMPUTES),
        "attention": st.sampled_from(ATTENTIONS),
        "stack": st.sampled_from(stack_names()),
        "dropout": st.booleans(),
        "dtype": st.sampled_from(["bf16", "fp16", "fp32", "fp8"]),
        "master_weights": st.booleans(),
        "train": st.sampled_from(["full", "full", "lora"]),
    }
)


def consistent(model, layout):
    """A layout that fits the model: what cannot be is set to 1."""
    layout = dict(layout)
    if not any(hasattr(group.mlp, "n_experts") for group in model.groups):
        layout["ep"] = 1
    layout["vp"] = 1 if layout["pp"] == 1 else layout["vp"]
    layout["global_batch"] = layout["micro_batch"] * layout["dp"] * layout.pop("accumulation")
    layout["num_devices"] = layout["tp"] * layout["pp"] * layout["cp"] * layout["dp"]
    try:
        resolve(train_config(layout), model)
    except RooflineError:
        return None
    return layout


def with_rank(options):
    return {**options, "lora_rank": 8 if options["train"] == "lora" else None}


def step_of(model, layout, options):
    layout = consistent(model, layout)
    assume(layout is not None)
    return build_step(model, train_config({**layout, **with_rank(options)}))


def possible(step, device):
    """The estimate, where the device has the engine, links and network that it needs."""
    try:
        return estimate_step(step, device)
    except ValueError:
        assume(False)


def figures(value, prefix=""):
    """Every number of a result by its path."""
    if isinstance(value, msgspec.Struct):
        skipped = {"model", "device", "train", "ops", "notes", "mfu_rule", "run"}
        pairs = [(name, getattr(value, name)) for name in value.__struct_fields__ if name not in skipped]
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    else:
        return {prefix: value}
    return {path: found for key, item in pairs for path, found in figures(item, f"{prefix}.{key}").items()}


@settings(max_examples=150)
@given(st.sampled_from(MODELS), st.sampled_from(DEVICES), degrees, words)
def test_bounds_and_sums(model, device, layout, options):
    step = step_of(model, layout, options)
    result = possible(step, device)
    for item in price(step, device):
        assert item.expected >= item.ideal * (1 - 1e-12), item.op.name
    assert result.ideal_step_time_s <= result.step_time_s * (1 + 1e-12)
    assert result.step_time_low_s <= result.step_time_s * (1 + 1e-12) <= result.step_time_high_s * (1 + 2e-12)
    assert 0 < result.mfu <= result.hfu < 1
    terms = [getattr(result.schedule, term) for term in TERMS]
    assert min(terms) >= 0
    assert sum(terms) == pytest.approx(result.step_time_s, rel=1e-12)
    assert 1 - sum(part.lost for part in result.waterfall) == pytest.approx(result.mfu, rel=1e-9)
    assert result.waterfall[-1].remaining == pytest.approx(result.mfu, rel=1e-9)
    memory = result.memory
    parts = [getattr(memory, name) for name in PARTS]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(memory.total_bytes, rel=1e-12)
    assert memory.fits == (memory.total_bytes <= memory.capacity_bytes) == result.fits


def overridden(device, figure):
    """The device with a better figure, unless that is one known to be wrong (twice the peak: sparse)."""
    try:
        return override(device, **figure)
    except ValueError:
        assume(False)


@settings(max_examples=80)
@given(st.sampled_from(MODELS), st.sampled_from(DEVICES), degrees, words, st.floats(1.0, 3.0))
def test_a_better_device_is_never_slower(model, device, layout, options, factor):
    step = step_of(model, layout, options)
    before = possible(step, device)
    figures_of = [
        {"peak_tflops": {dtype: peak * factor / 1e12 for dtype, peak in device.peaks.items()}},
        {"bandwidth_gb_per_s": device.memory_bandwidth_bytes_per_s * factor / 1e9},
    ]
    if {"scale_up", "pcie"} & set(device.links):
        figures_of.append({"link_gb_per_s": device.scale_up_bytes_per_s * factor / 1e9})
    for figure in figures_of:
        other = overridden(device, figure)
        after = estimate_step(step, other)
        assert after.step_time_s <= before.step_time_s * (1 + 1e-9)
        assert after.ideal_step_time_s <= before.ideal_step_time_s * (1 + 1e-9)


@settings(max_examples=40)
@given(st.sampled_from(MODELS), st.lists(degrees, min_size=3, max_size=8), words)
def test_arrays_equal_numbers_element_by_element(model, layouts, options):
    layouts = [found for layout in layouts if (found := consistent(model, layout)) is not None]
    assume(layouts)
    options = with_rank(options)
    columns = {name: np.array([float(layout[name]) for layout in layouts]) for name in layouts[0]}
    together = figures(estimate_step(build_step(model, train_config({**columns, **options})), H100))
    for index, layout in enumerate(layouts):
        alone = figures(estimate_step(build_step(model, train_config({**layout, **options})), H100))
        for name, value in alone.items():
            found = together[name]
            found = found[index] if isinstance(found, np.ndarray) and found.ndim else found
            if isinstance(value, str):
                assert found == value, name
            else:
                assert float(found) == pytest.approx(float(value), rel=1e-9, abs=1e-12), (name, layout)


def test_each_number_may_be_the_only_array():
    base = {"num_devices": 32, "tp": 2, "pp": 2, "global_batch": 64, "seq_len": 512, "micro_batch": 2}
    columns = {
        "tp": [1, 2, 4],
        "pp": [1, 2, 4],
        "cp": [1, 2],
        "micro_batch": [1, 2, 4],
        "global_batch": [32, 64],
        "seq_len": [256, 512],
        "num_devices": [16, 32, 64],
        "vp": [1, 2],
        "ep": [1, 4],
        "network_gbit_per_s": [50.0, 400.0],
        "devices_per_node": [4, 8],
    }
    model = model_from_flat(EXPERTS)
    for name, values in columns.items():
        together = estimate(model, H100, **{**base, name: np.array(values)})
        for index, value in enumerate(values):
            alone = estimate(model, H100, **{**base, name: value})
            for figure in ("step_time_s", "mfu", "tokens_per_s_per_device", "ideal_step_time_s", "step_time_low_s"):
                got = np.broadcast_to(getattr(together, figure), len(values))[index]
                assert got == pytest.approx(getattr(alone, figure), rel=1e-9), (name, figure)


@pytest.mark.parametrize("device_id", ["h100-sxm-80gb", "mi300x", "tpu-v5p", "a100-pcie-80gb", "rtx-4090", "epyc-9654"])
@pytest.mark.parametrize("model", ["gpt2", "llama-3.2-1b", "gemma-2-2b", "vit-b16", "bert-base", "olmoe-1b-7b"])
def test_mfu_is_in_range_for_every_kind_of_model_and_device(model, device_id):
    result = estimate(model, device_id)
    assert 0 < result.mfu <= result.hfu < 1
    assert result.mfu == pytest.approx(
        result.model_flops_per_step / (result.step_time_s * result.device.peak_flops_per_s(result.train.dtype))
    )
    if result.train.recompute == "none" and model != "vit-b16":  # nothing is run twice
        assert result.hfu == pytest.approx(result.mfu, rel=1e-9)


def test_recompute_costs_time_and_no_mfu_flops():
    none, full = (estimate("llama-3-8b", H100, recompute=recompute) for recompute in ("none", "full"))
    assert full.model_flops_per_step == none.model_flops_per_step
    assert full.hardware_flops_per_step > none.hardware_flops_per_step
    assert full.step_time_s > none.step_time_s
    assert full.mfu < none.mfu


def test_more_work_takes_longer():
    base = {"num_devices": 8, "micro_batch": 1, "global_batch": 8}
    first = estimate("llama-3.2-1b", H100, **base)
    twice = estimate("llama-3.2-1b", H100, **{**base, "global_batch": 16})
    assert first.step_time_s < twice.step_time_s < 2 * first.step_time_s  # the update is paid once
    assert twice.model_flops_per_step == 2 * first.model_flops_per_step


def test_ops_hold_all_device_work():
    result = estimate("llama-3-8b", H100, num_devices=4, tp=4)
    busy = sum(op.expected_s for op in result.ops if op.kind == "matmul")
    assert busy == pytest.approx(result.schedule.matmul)
    assert result.to_frame()["expected_s"].is_monotonic_decreasing


def test_notes_name_the_assumptions():
    model = model_from_flat({name: value for name, value in FLAT.items() if name != "gated_mlp"})
    notes = estimate(model, H100, seq_len=4096).notes
    assert any("assumes a gated" in note for note in notes)
    assert any("4,096 tokens are beyond the 2,048" in note for note in notes)
    assert any("the hopper architecture's, not h100-sxm-80gb's alone" in note for note in notes)
    assert any("none are known of apple-m2-gpu" in note for note in estimate("gpt2", "apple-m2-gpu").notes)


@pytest.mark.parametrize("device", ["v100-sxm2-32gb", "t4"])
def test_fused_attention_is_not_assumed_where_it_does_not_run(device):
    result = estimate("gpt2", device)
    assert result.train.attention == "unfused"
    assert any("unfused attention, because flash2 does not run" in note for note in result.notes)
    size = result.train.micro_batch
    assert estimate("gpt2", device, attention="flash1", micro_batch=size).step_time_s < result.step_time_s
    with pytest.raises(RooflineError, match=r"'flash2' does not run on .*: use unfused or flash1"):
        estimate("gpt2", device, attention="flash2")


def test_the_third_flash_attention_needs_hopper():
    assert estimate("gpt2", "h100-sxm-80gb", attention="flash3").train.attention == "flash3"
    for device in ("a100-sxm-80gb", "b200-sxm", "mi300x"):
        with pytest.raises(RooflineError, match="use unfused, flash1, flash2 or te"):
            estimate("gpt2", device, attention="flash3")


def test_an_inference_engine_does_not_train():
    with pytest.raises(RooflineError, match="'serving' only serves: add --phase"):
        estimate("gpt2", "a100-sxm-80gb", stack="serving")


def test_an_estimate_on_v100_says_that_published_runs_differ(printed):
    shown = printed("estimate", "gpt2-xl", "-d", "v100-sxm2-32gb", "--dtype", "fp16")
    assert "published runs on V100 differ" in " ".join(shown.split())
