"""A complete configuration leaves nothing open, and says nothing that cannot be said again."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

import roofline
from roofline.config.complete import DEVICES_OWN, MEANT, complete, opened
from roofline.config.run import TrainConfig
from roofline.config.settle import Run, resolve, settle, train_config
from roofline.config.stack import load_stack, stack_names
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model

H100 = load_device("h100-sxm-80gb")
MODES: tuple[dict[str, Any], ...] = (
    {},
    {"num_devices": 8},
    {"num_devices": 16, "tp": 2, "pp": 2, "global_batch": 32},
    {"num_devices": 8, "pp": 2, "vp": 2, "global_batch": 8},
    {"num_devices": 8, "ep": 8},
    {"num_devices": 8, "sharding": "fsdp"},
    {"train": "lora"},
    {"train": "qlora"},
    {"dtype": "fp8"},
    {"dtype": "fp32", "train": "lora"},
    {"master_weights": False},
    {"mean_len": 100},
    {"recompute": "mlp"},
    {"offload": "optimizer"},
    {"offload": "activations"},
)
SOFTWARE = [name for name in stack_names() if load_stack(name).trains]


def runs(stack: str, *, step: int) -> Iterator[Run]:
    """Every `step`-th preset in every mode that the software runs."""
    for name in roofline.model_ids()[::step]:
        for mode in MODES:
            try:
                yield settle(load_model(name), H100, {"stack": stack, **mode})
            except RooflineError:
                continue


@pytest.mark.parametrize("stack", SOFTWARE)
def test_nothing_is_open_but_what_the_device_says(stack: str) -> None:
    open_fields = {
        name
        for run in runs(stack, step=1)
        for name in TrainConfig.__struct_fields__
        if getattr(run.train, name) is None
    }
    assert open_fields == set(DEVICES_OWN)


@pytest.mark.parametrize("stack", SOFTWARE)
def test_what_is_complete_stays_as_it_is_and_can_be_said_again(stack: str) -> None:
    for run in runs(stack, step=11):
        assert resolve(run.train, run.model) == run.train
        assert settle(run.model, H100, msgspec.structs.asdict(run.train)).train == run.train


def test_every_field_that_may_be_open_has_a_meaning_or_is_the_devices() -> None:
    sizes = {"global_batch", "seq_len", "dp"}  # `settle.resolve` works them out
    plain = TrainConfig()
    may_be_open = {name for name in TrainConfig.__struct_fields__ if getattr(plain, name) is None}
    assert may_be_open == {*sizes, *MEANT, *DEVICES_OWN}


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("gpt2", {}, {"seq_len": 1024, "mean_len": 1024, "packing": "packed", "lora_rank": 0, "lora_modules": "none"}),
        (
            "gpt2",
            {"train": "qlora"},
            {"base_dtype": "nf4", "double_quant": True, "lora_rank": 16, "lora_modules": "all"},
        ),
        ("gpt2", {"train": "qlora", "stack": "hf-trainer"}, {"base_upcast": "norms"}),
        ("gpt2", {"train": "qlora", "stack": "hf-trainer", "base_upcast": "none"}, {"base_upcast": "none"}),
        ("gpt2", {"train": "lora", "dtype": "fp16"}, {"base_dtype": "fp16", "double_quant": False}),
        ("gpt2", {"num_devices": 4, "pp": 2, "vp": 2, "global_batch": 8}, {"schedule": "interleaved"}),
        ("gpt2", {"num_devices": 4, "pp": 2}, {"schedule": "1f1b", "pp_layout": "even"}),
        (
            "gpt2",
            {"stack": "eager"},
            {"gradient_dtype": "fp32", "weight_dtype": "fp32", "saved_dtype": "bf16"},
        ),  # autocast
        ("gpt2", {"stack": "nemo"}, {"gradient_dtype": "bf16", "weight_dtype": "bf16", "master_dtype": "fp32"}),
        ("gpt2", {"stack": "nemo", "master_weights": False}, {"master_dtype": "none"}),
        ("gpt2", {"offload": "activations"}, {"offload_layers": 12}),
        ("mixtral-8x7b", {"num_devices": 16, "tp": 2, "stack": "nemo"}, {"etp": 1, "dispatcher": "alltoall"}),
        ("mixtral-8x7b", {"num_devices": 16, "tp": 2, "stack": "nemo", "sequence_parallel": False, "dp": 8}, None),
        ("vit-b16", {}, {"image_size": 224, "images_per_sample": 0}),
    ],
)
def test_what_is_meant(model: str, options: dict[str, Any], expected: dict[str, Any] | None) -> None:
    if expected is None:
        with pytest.raises(RooflineError, match="sequence"):
            settle(load_model(model), H100, options)
        return
    train = settle(load_model(model), H100, options).train
    assert {name: getattr(train, name) for name in expected} == expected


def test_opening_is_the_inverse_of_completing() -> None:
    model = load_model("mixtral-8x7b")
    for options in ({}, {"tp": 2}, {"dispatcher": "deepep"}, {"train": "qlora", "double_quant": False}):
        said = train_config({"seq_len": 512, "stack": "nemo", **options})
        assert opened(complete(said, model), model) == said
    with_arrays = train_config({"tp": np.array([1.0, 2.0]), "seq_len": 512, "stack": "megatron"})
    assert complete(with_arrays, model).etp is with_arrays.tp
    assert opened(complete(with_arrays, model), model).etp is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_dtype": "fp32", "stack": "nemo"}, "weight_dtype fp32 is not what nemo keeps with dtype bf16"),
        ({"train": "lora", "lora_rank": 0}, "lora_rank must be a whole number of at least 1"),
        ({"train": "qlora", "base_dtype": "none"}, "unknown base dtype 'none'"),
        ({"offload": "activations", "offload_layers": 0}, "offload_layers must be a whole number of at least 1"),
    ],
)
def test_nothing_where_there_is_something_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RooflineError, match=words):
        settle(load_model("gpt2"), H100, options)


def test_shares_that_overlap() -> None:
    model = load_model("mixtral-8x7b")
    options = {"num_devices": 8, "ep": 8, "stack": "nemo", "micro_batch": 1, "global_batch": 64}
    times = [
        float(roofline.estimate(model, H100, **options, exchange_overlap=share).step_time_s) for share in (0, 0.5, True)
    ]
    assert times == sorted(times, reverse=True)
    assert roofline.estimate(model, H100, **options, exchange_overlap=False).step_time_s == times[0]
