"""What frameworks refuse: no default of ours is among it, and what is said against it is named."""

from itertools import product

import pytest

from roofline.config.asserts import ASSERTS, refuse
from roofline.config.settle import settle
from roofline.config.stack import load_stack, stack_names
from roofline.errors import RooflineError
from roofline.model.load import load_model, model_from_flat

DENSE, EXPERTS = load_model("llama-3-8b"), load_model("mixtral-8x7b")
SIXTH = model_from_flat(
    {"name": "six", "n_layers": 2, "d_model": 96, "n_heads": 12, "n_kv_heads": 6, "d_ff": 64, "vocab_size": 128}
)
LAYOUTS = [
    {"tp": tp, "pp": pp, "cp": cp, "vp": vp, "num_devices": 64, "ep": ep}
    for tp, pp, cp, vp, ep in product((1, 2, 4), (1, 2, 4), (1, 2), (1, 2), (1, 2, 4))
    if vp == 1 or pp > 1
]


@pytest.mark.parametrize("stack", [name for name in stack_names() if load_stack(name).trains])
def test_no_default_is_one_that_the_framework_refuses(stack):
    for layout, model in product(LAYOUTS, (DENSE, EXPERTS)):
        if model is DENSE and layout["ep"] > 1:
            continue
        refuse(settle(model, None, {**layout, "stack": stack}).train, model)


UPCAST = {"train": "qlora", "lora_rank": 8, "base_upcast": "norms"}
BROKEN = [
    (EXPERTS, {"stack": "megatron", "tp": 2, "sequence_parallel": False}, "leave --no-sequence-parallel out"),
    (DENSE, {"stack": "nemo", "cp": 4, "seq_len": 1028}, "2 x cp = 2 x 4"),
    (DENSE, {"stack": "megatron", "tp": 4, "seq_len": 1022}, "a multiple of tp"),
    (SIXTH, {"stack": "nemo", "tp": 4}, "tp 4, which neither divides the heads of keys and values"),
    (DENSE, {"stack": "primus", "pp": 4, "vp": 2, "global_batch": 6}, "6 micro batches"),
    (EXPERTS, {"stack": "megatron", "ep": 2, "num_devices": 2, "dtype": "fp16"}, "--dtype bf16"),
    (DENSE, {"stack": "nemo", "cuda_graph": "full", "recompute": "full"}, "full recompute in CUDA graphs"),
    (DENSE, {"stack": "nemo", "dp": 2, "sharding": "none", "dtype": "fp8", "weight_dtype": "fp8"}, "primary weights"),
    (DENSE, {"stack": "nemo", "dp": 2, "sharding": "none", "offload": "optimizer"}, "an optimizer on the host"),
    (DENSE, {"stack": "torchtitan", "tp": 4, "seq_len": 1020}, "2 x tp x cp = 2 x 4 x 1"),
    (EXPERTS, {"stack": "torchtitan", "tp": 4, "ep": 2, "etp": 2, "num_devices": 8}, "--etp 1 or tp"),
    (DENSE, {"stack": "torchtitan", "dp": 2, "sharding": "zero1"}, "--sharding fsdp"),
    (DENSE, {"stack": "torchtitan", "pp": 4, "vp": 2, "global_batch": 11}, "11 micro batches"),  # two rounds of 5.5
    (DENSE, {"stack": "nemo", "dp": 2, "sharding": "none", "moment_dtype": "bf16"}, "--sharding zero1"),
    (DENSE, {"stack": "megatron", "optimizer": "lion", "master_dtype": "fp16"}, "--optimizer adamw"),
    (DENSE, {"stack": "deepspeed", "pp": 2, "num_devices": 4, "sharding": "zero3"}, "--sharding zero1"),
    (DENSE, {"stack": "hf-trainer", "dp": 2, "sharding": "fsdp", **UPCAST}, "--base-upcast none"),
    (DENSE, {"stack": "llm-c", "train": "lora"}, "lora training with adamw: use --train full"),
]


@pytest.mark.parametrize(("model", "options", "words"), BROKEN)
def test_what_breaks_an_assert_is_refused_in_one_line(model, options, words):
    with pytest.raises(RooflineError, match=words) as error:
        settle(model, None, options)
    assert str(error.value).startswith(f"{options['stack']} refuses")


def test_every_assert_is_of_a_profile_that_exists_has_a_source_and_can_be_broken():
    assert len(BROKEN) == len(ASSERTS)
    for each in ASSERTS:
        assert set(each.stacks) <= set(stack_names())
        assert "/" in each.source


def test_rounds_of_pytorchs_interleaved_stages():
    """With pp 4, ten micro batches are two rounds of five, six one round of six (`ScheduleInterleaved1F1B`)."""
    for batch in (6, 10, 12):
        options = {"stack": "torchtitan", "pp": 4, "vp": 2, "num_devices": 4, "micro_batch": 1, "global_batch": batch}
        assert settle(DENSE, None, options).train.accumulation == batch


def test_ranks_may_share_a_head_of_keys_and_values():
    for degree in (8, 16):  # Llama 3 8B has 8 of them
        assert settle(DENSE, None, {"stack": "nemo", "tp": degree}).train.tp == degree
