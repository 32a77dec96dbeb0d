"""What a training runs on where nothing is said."""

from typing import Any

import pytest

from roofline.config.defaults import (
    default_attention,
    default_dtype,
    default_stack,
    defaults,
    doubles,
    said,
    usual_base,
)
from roofline.config.stack import load_stack
from roofline.hardware import load_device


def test_none_is_not_said() -> None:
    assert said({"tp": None, "pp": 1, "dropout": 0.0}) == {"pp": 1, "dropout": 0.0}


@pytest.mark.parametrize(
    ("device", "dtype"),
    [(None, "bf16"), ("h100-sxm-80gb", "bf16"), ("v100-sxm2-16gb", "fp16")],  # bf16 came with Ampere
)
def test_the_dtype_follows_the_engines(device: str | None, dtype: str) -> None:
    assert default_dtype(None if device is None else load_device(device)) == dtype


@pytest.mark.parametrize(
    ("device", "options", "stack"),
    [
        (None, {}, "compiled"),
        (None, {"sharding": "zero1"}, "compiled"),
        (None, {"sharding": "fsdp"}, "fsdp"),
        (None, {"tp": 2, "sharding": "fsdp"}, "nemo"),
        (None, {"ep": 8}, "nemo"),
        (None, {"train": "lora"}, "hf-trainer"),
        (None, {"train": "qlora", "sharding": "fsdp"}, "hf-trainer"),
        (None, {"train": "lora", "tp": 2}, "nemo"),
        ("tpu-v5p", {"train": "lora"}, "jax"),
        ("tpu-v5p", {"tp": 2}, "jax"),
        ("mi300x", {"tp": 2}, "primus"),  # NeMo runs on NVIDIA's GPUs alone
        ("mi300x", {"sharding": "fsdp"}, "fsdp"),
        ("rtx-4090", {"tp": 2}, "fsdp"),
        ("trainium2", {"tp": 2}, "neuron"),
        ("trainium2", {}, "neuron"),
    ],
)
def test_the_software_such_a_layout_is_usually_trained_with(
    device: str | None, options: dict[str, Any], stack: str
) -> None:
    assert default_stack(None if device is None else load_device(device), options) == stack


def test_a_kernel_that_does_not_run_gives_way_to_unfused_attention() -> None:
    assert default_attention(None, "compiled") == load_stack("compiled").attention
    v100 = load_device("v100-sxm2-16gb")
    assert load_stack("compiled").attention not in v100.family.attention  # flash2 needs Ampere
    assert default_attention(v100, "compiled") == "unfused"


def test_torchtune_keeps_no_fp32_copies() -> None:
    # recipes/full_finetune_distributed.py makes the model in the recipe's dtype: 2 + 2 + 4 bytes a parameter in bf16
    assert defaults(None, {"stack": "torchtune"})["master_weights"] is False
    assert defaults(None, {"stack": "torchtitan"})["master_weights"] is True
    assert defaults(None, {"stack": "torchtune", "master_weights": True})["master_weights"] is True


def test_what_is_said_stands() -> None:
    given = {"dtype": "fp32", "stack": "eager", "attention": "unfused", "sharding": "none"}
    found = defaults(load_device("h100-sxm-80gb"), {**given, "num_devices": 8})
    assert {name: found[name] for name in given} == given


def test_a_base_of_qlora_is_as_published() -> None:
    assert [usual_base(word) for word in ("qlora", "lora", "full")] == ["nf4", None, None]
    assert [doubles(word) for word in ("nf4", "fp4", "int8", "bf16", None)] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("device", "options", "replica"),
    [
        ("gb200", {"num_devices": 64}, {"devices_per_node": 4}),  # of a rack of 72
        ("gb200", {"num_devices": 64, "devices_per_node": 8}, {"devices_per_node": 8}),
        ("tpu-v6e", {"num_devices": 512}, {"dp_shard": 256}),  # slices of 256 chips
        ("tpu-v6e", {"num_devices": 64, "tp": 4}, {"dp_shard": 16}),
        ("tpu-v6e", {"num_devices": 512, "dp_shard": 128}, {"dp_shard": 128}),
    ],
)
def test_a_replica_is_a_node_and_of_tpus_a_slice(device: str, options: dict[str, Any], replica: dict[str, int]) -> None:
    found = defaults(load_device(device), {**options, "sharding": "hsdp"})
    assert {name: found[name] for name in replica} == replica
