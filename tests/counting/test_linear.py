"""Matmuls with a weight, in 16 bits and below, each with its product by hand."""

import pytest

from .tiny import EXPERTS, PLAIN, op_of, step_of

# q 3*2 and k, v 1*2 each: 10 columns; gate and up 16; logits 11
MATMULS = {
    "attention.qkv": 2 * 10 * 6 * 10,
    "attention.out": 2 * 10 * 6 * 6,
    "mlp.up": 2 * 10 * 6 * 16,
    "mlp.down": 2 * 10 * 8 * 6,
    "head.logits": 2 * 10 * 6 * 11,
}


@pytest.mark.parametrize("name", MATMULS)
@pytest.mark.parametrize("part", ["", ".dgrad", ".wgrad"])
def test_forward_and_both_gradients_cost_the_same(name, part):
    assert op_of(name + part).flops == MATMULS[name]


def test_a_matmul_moves_each_operand_once():
    forward, dgrad, wgrad = (op_of(f"mlp.up{part}", stack="eager") for part in ("", ".dgrad", ".wgrad"))
    x, w, y = 10 * 6, 6 * 16, 10 * 16  # elements, 2 bytes each
    assert (forward.bytes_read, forward.bytes_written) == (2 * (x + w), 2 * y)
    assert (dgrad.bytes_read, dgrad.bytes_written) == (2 * (y + w), 2 * x)
    assert (wgrad.bytes_read, wgrad.bytes_written) == (2 * (x + y), 2 * w)
    assert (forward.shape, dgrad.shape, wgrad.shape) == ((10, 16, 6, 1), (10, 6, 16, 1), (6, 16, 10, 1))
    assert forward.count == 3


def test_fused_accumulation_adds_into_the_fp32_gradient():
    fused = op_of("mlp.up.wgrad", stack="megatron")
    assert fused.bytes_read == 2 * (10 * 6 + 10 * 16) + 4 * 6 * 16
    assert fused.bytes_written == 4 * 6 * 16
    names = {op.name for op in step_of(stack="megatron").ops}
    assert "mlp.up.grad_accumulate" not in names


def test_accumulation_adds_gradients_from_the_second_micro_batch_on():
    once = op_of("mlp.up.grad_accumulate", stack="parallel", dtype="fp32")
    more = op_of("mlp.up.grad_accumulate", stack="parallel", dtype="fp32", global_batch=4)
    assert (once.bytes, once.kernels) == (0, 0)
    # of two passes the second adds: both read, the sum written; per pass half of it
    assert (more.bytes, more.kernels) == (6 * 16 * 4 * 3 / 2, 0.5)


def test_autocast_casts_each_gradient_and_adds_from_the_second_on():
    once, more = (op_of("mlp.up.grad_accumulate", stack="eager", global_batch=batch) for batch in (2, 8))
    assert (once.bytes_read, once.bytes_written, once.kernels) == (2 * 96, 4 * 96, 1)
    assert (more.bytes_read, more.bytes_written) == ((2 + 3 * 10) / 4 * 96, (4 + 3 * 8) / 4 * 96)  # four passes


def test_a_sum_kept_apart_is_added_to_every_time():
    for batch in (2, 8):
        added = op_of("mlp.up.grad_accumulate", stack="deepspeed", global_batch=batch)
        assert (added.bytes_read, added.bytes_written, added.kernels) == (6 * 96, 4 * 96, 1)


def test_gradients_of_pure_16_bit_training_are_moved_in_16_bits():
    moved = op_of("mlp.up.grad_accumulate", stack="eager", master_weights=False)
    assert (moved.bytes, moved.kernels) == (0, 0)


def test_autocast_reads_fp32_weights_only_where_they_are_kept():
    cast = op_of("mlp.up.autocast")
    assert (cast.bytes_read, cast.bytes_written) == (4 * 96, 2 * 96)
    for options in ({"master_weights": False}, {"dtype": "fp32"}, {"stack": "megatron"}):
        assert all(op.name != "mlp.up.autocast" for op in step_of(**options).ops)


def test_compilers_pad_ragged_matmuls():
    assert op_of("head.logits").shape == (10, 16, 8, 1)  # vocabulary of 11 and width of 6, in vectors of 8
    assert op_of("head.logits", stack="eager").shape == (10, 11, 6, 1)
    assert op_of("head.logits").flops == op_of("head.logits", stack="eager").flops == 2 * 10 * 11 * 6
    assert op_of("mlp.activation").bytes == (2 + 1) * 10 * 8 * 2  # gate and up in, product out
    assert op_of("mlp.activation", PLAIN).bytes == (1 + 1) * 10 * 8 * 2


def test_low_precision_halves_operands_and_casts_them():
    fp8, bf16 = op_of("mlp.up", dtype="fp8"), op_of("mlp.up")
    assert (fp8.dtype, fp8.flops) == ("fp8", bf16.flops)
    assert fp8.bytes_read * 2 == bf16.bytes_read
    names = {(op.name, op.phase) for op in step_of(dtype="fp8", stack="fsdp").ops}
    assert ("mlp.up.cast", "forward") in names
    assert ("mlp.up.cast", "backward") in names
    assert ("head.logits.cast", "forward") not in names  # the head stays in 16 bits


def test_a_norm_casts_what_it_writes_and_an_activation_where_the_stack_says():
    casts = {(op.name, op.phase) for op in step_of(dtype="fp8", stack="nemo").ops if op.name.endswith(".cast")}
    assert casts == {
        ("attention.out.cast", "forward"),
        ("mlp.down.cast", "forward"),
        *((f"{name}.cast", "backward") for name in ("attention.qkv", "attention.out", "mlp.up", "mlp.down")),
    }
    serving = {op.name for op in step_of(dtype="fp8", stack="serving").ops if op.phase == "forward"}
    assert "mlp.down.cast" not in serving
    experts = {op.name for op in step_of(EXPERTS, dtype="fp8", stack="nemo").ops}
    assert {"experts.up.cast", "experts.down.cast"} <= experts


def casts_of(name, phase="forward", **options):
    """Bytes read and written by the cast of an operand."""
    cast = next(op for op in step_of(**options).ops if op.name == name and op.phase == phase)
    return cast.bytes_read, cast.bytes_written, cast.kernels


def test_what_each_recipe_reads_and_writes():
    # mlp.down's input: 10 tokens x 8 features; two copies of 1 byte, 1 + 1/32, 1/2 + 1/16
    x = 10 * 8
    fp8 = {"dtype": "fp8", "stack": "nemo"}
    assert casts_of("mlp.down.cast", **fp8) == (x * 2, 2 * x, 1)
    # current: SwiGLU finds the largest value; of a gradient a kernel of its own does
    current = {**fp8, "low_precision_recipe": "current", "fused": ("norm",)}
    assert casts_of("mlp.up.cast", **current)[2] == 1
    assert casts_of("mlp.up.cast", "backward", **current)[2] == 2
    rowwise = {**fp8, "low_precision_recipe": "rowwise"}
    assert casts_of("mlp.down.cast", **rowwise) == (4 * x * 2, 2 * x, 4)
    blockwise = {**fp8, "low_precision_recipe": "blockwise"}
    assert casts_of("mlp.down.cast", **blockwise) == (x * 2, 2 * x * 33 / 32, 1)
    assert casts_of("mlp.down.cast", dtype="mxfp8", stack="nemo") == (x * 2, 2 * x * 33 / 32, 1)
    assert casts_of("mlp.down.cast", dtype="nvfp4", stack="nemo") == (3 * x * 2, 2 * x * 9 / 16, 3)


def test_a_weight_is_cast_once_a_step_where_the_copy_is_kept():
    kept = {"dtype": "fp8", "stack": "nemo", "global_batch": 4, "micro_batch": 1}
    each = {**kept, "stack": "fsdp"}
    w = op_of("mlp.down", **kept).shape[1] * op_of("mlp.down", **kept).shape[2]
    assert casts_of("mlp.down.weight_cast", **kept) == (w * 2 / 4, w * 2 / 4, 1 / 4)
    assert casts_of("mlp.down.weight_cast", **each) == (2 * w * 2, w * 2, 2)  # its largest value, then the cast
    frozen = {op.name for op in step_of(dtype="fp8", stack="nemo", train="lora", lora_rank=2).ops}
    assert "mlp.down.weight_cast" not in frozen


def test_the_first_and_last_layer_stay_in_16_bits_where_the_recipe_says():
    ops = step_of(dtype="fp8", stack="nemo", low_precision_recipe="current").ops
    counts = {op.dtype: op.count for op in ops if op.name == "mlp.up" and op.phase == "forward"}
    layers = op_of("mlp.up").count
    assert counts == {"bf16": min(layers, 2), **({"fp8": layers - 2} if layers > 2 else {})}


def test_the_last_projection_keeps_its_input_in_low_precision():
    # gate and up in 16 bits, their product in 16 or 8; adapters elsewhere need no input of a frozen weight
    assert op_of("mlp.activation").saved_bytes == 2 * 10 * 8 * 2
    assert op_of("mlp.down").saved_bytes == 10 * 8 * 2
    assert op_of("mlp.down", dtype="fp8", stack="nemo").saved_bytes == 10 * 8
    assert op_of("mlp.down", train="lora", lora_rank=2, lora_modules="attention").saved_bytes == 0


def test_layers_that_return_what_they_are_given_cast_around_their_matmul():
    adapted = {"train": "qlora", "stack": "hf-trainer", "lora_modules": "q_proj", "lora_rank": 2}
    wide, narrow = (step_of(**adapted, base_upcast=word) for word in ("norms", "none"))
    casts = {op.name: op for op in wide.ops if "cast_input" in op.name and op.phase == "forward"}
    # attention hands its projection 16 bits
    assert set(casts) == {f"{name}.cast_input" for name in ("attention.qkv", "mlp.up", "mlp.down")}
    cast = casts["mlp.down.cast_input"]
    assert (cast.bytes_read, cast.bytes_written) == (10 * 8 * 4, 10 * 8 * 2)
    assert not any("cast_input" in op.name for op in narrow.ops)
    activations = [next(op for op in step.ops if op.name == "mlp.activation") for step in (wide, narrow)]
    assert activations[0].saved_bytes == 2 * activations[1].saved_bytes
