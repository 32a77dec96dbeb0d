"""What can never be, whatever the model: memory that grows with recompute, or falls with a larger micro batch."""

from itertools import pairwise

import pytest

from roofline.config.recompute import recompute_modules
from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.footprint.parts import memory_of
from roofline.hardware import load_device
from roofline.model.load import load_model

H100 = load_device("h100-sxm-80gb")
STACKS = ("eager", "compiled", "torchtitan", "fsdp", "hf-trainer", "megatron", "deepspeed")
MODELS = ("gpt2", "llama-3.2-1b", "mixtral-8x7b", "deepseek-v2-lite")
TRAINED = ({}, {"train": "lora"}, {"train": "full", "master_weights": False})


def needed(model, **options):
    step = build_step(load_model(model), train_config({"seq_len": 1024, "micro_batch": 2, **options}))
    return memory_of(step, H100)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("trained", TRAINED, ids=["full", "lora", "pure"])
def test_recompute_never_needs_more(model, stack, trained):
    plain = needed(model, stack=stack, recompute="none", **trained)
    words = ["selective", "full", "every:2", *recompute_modules()]
    if "train" not in trained or trained["train"] == "full":  # frozen matmuls keep nothing but what a policy tells them
        words += ["matmuls", "matmuls:2"]
    for word in words:
        try:
            found = needed(model, stack=stack, recompute=word, **trained)
        except RooflineError:  # the model has no such module
            continue
        assert found.allocated_bytes <= plain.allocated_bytes * (1 + 1e-9), word
        assert found.needed_bytes <= plain.needed_bytes * (1 + 1e-9), word


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_more_never_needs_less(stack, recompute):
    for name, sizes in (("micro_batch", (1, 2, 4, 8, 16)), ("seq_len", (128, 512, 2048, 8192))):
        for trained in TRAINED:
            found = [
                needed("llama-3.2-1b", stack=stack, recompute=recompute, **trained, **{name: size}) for size in sizes
            ]
            for less, more in pairwise(found):
                assert less.allocated_bytes <= more.allocated_bytes
                assert less.needed_bytes <= more.needed_bytes


@pytest.mark.parametrize("sharding", ["zero1", "zero2", "zero3", "fsdp"])
@pytest.mark.parametrize("stack", ["deepspeed", "fsdp", "hf-trainer", "eager"])
def test_sharding_a_model_never_needs_more(stack, sharding):
    try:
        plain = needed("llama-3-8b", stack=stack, num_devices=8, sharding="none", recompute="full")
        found = needed("llama-3-8b", stack=stack, num_devices=8, sharding=sharding, recompute="full")
    except RooflineError:  # the stack has no such sharding
        return
    assert found.allocated_bytes < plain.allocated_bytes
    assert found.needed_bytes < plain.needed_bytes


@pytest.mark.parametrize("model", MODELS)
def test_what_is_shown_is_what_is_needed_and_more(model):
    for stack in STACKS:
        for trained in TRAINED:
            found = needed(model, stack=stack, **trained)
            assert max(phase.total for phase in found.phases) == found.allocated_bytes
            assert found.allocated_bytes < found.needed_bytes <= found.driver_bytes
