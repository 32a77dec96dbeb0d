"""Kernels of a tiny model, each with its product by hand."""

import pytest

from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.model.load import model_from_flat

# b 2 sequences of s 5 tokens: T 10; D 6, three heads of 2, one kv head, F 8, V 11, L 3
TINY = {
    "name": "tiny",
    "n_layers": 3,
    "d_model": 6,
    "n_heads": 3,
    "n_kv_heads": 1,
    "d_ff": 8,
    "gated_mlp": True,
    "vocab_size": 11,
    "max_seq_len": 64,
}
PLAIN = {**TINY, "n_kv_heads": 3, "gated_mlp": False}
EXPERTS = {**TINY, "n_experts": 4, "experts_per_token": 2}


def step_of(flat=TINY, **options):
    options = {"micro_batch": 2, "seq_len": 5, "stack": "compiled", **options}
    return build_step(model_from_flat(flat), train_config(options))


def op_of(name, flat=TINY, **options):
    (op,) = [op for op in step_of(flat, **options).ops if op.name == name]
    return op


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


def test_the_gradient_of_the_embedding_is_a_whole_table():
    assert op_of("embedding.grad_fill", stack="eager").bytes_written == 2 * 11 * 6
    assert op_of("embedding.grad_accumulate", stack="eager").bytes_written == 4 * 11 * 6


def test_backward_of_the_loss_reads_twelve_and_writes_ten_bytes_per_logit():
    loss = op_of("loss.cross_entropy.backward", stack="eager")
    # fill 4; gradient 4 and output 4 in, 4 out; cast 4 in, 2 out: of 10 x 11 logits
    assert (loss.bytes_read, loss.bytes_written) == (12 * 110, 10 * 110)


def test_autocast_reads_fp32_weights_only_where_they_are_kept():
    cast = op_of("mlp.up.autocast")
    assert (cast.bytes_read, cast.bytes_written) == (4 * 96, 2 * 96)
    for options in ({"master_weights": False}, {"dtype": "fp32"}, {"stack": "megatron"}):
        assert all(op.name != "mlp.up.autocast" for op in step_of(**options).ops)


def test_fused_attention_sees_half_under_a_causal_mask():
    forward, backward = op_of("attention.core"), op_of("attention.core.backward")
    full = 2 * (2 * 3 * 5 * 5 * 2) * 2  # two matmuls of [5, 2] x [2, 5] for 2 sequences and 3 heads
    assert (forward.model_flops, backward.model_flops) == (full, 2 * full)
    assert forward.flops == full * 3 / 5  # (5 + 1) / 2 of 5 keys
    assert backward.flops == forward.flops * 5 / 2  # five matmuls, the scores again among them
    q, kv, o = 10 * 6, 2 * 10 * 2, 10 * 6
    assert forward.bytes_read == 2 * (q + kv)
    assert forward.bytes_written == 2 * o + 4 * 30  # and the log-sum-exp of each query


def test_an_encoder_sees_every_key():
    core = op_of("attention.core", {**PLAIN, "kind": "encoder", "causal": False})
    assert core.flops == core.model_flops == 2 * (2 * 3 * 5 * 5 * 2) * 2


@pytest.mark.parametrize("attention", ["flash2", "unfused"])
@pytest.mark.parametrize("seq_len", [3, 5, 12])
def test_a_window_is_part_of_the_model(attention, seq_len):
    windowed = {**TINY, "window": 4}
    step = step_of(windowed, attention=attention, seq_len=seq_len)
    cores = [op for op in step.ops if op.name.startswith(("attention.core", "attention.scores", "attention.weighted"))]
    counted = sum(op.model_flops for op in cores if op.phase == "forward")
    # scores and weighted sum: 2 sequences, 3 heads, width 2, at most 4 keys
    assert counted == pytest.approx(2 * 2 * (2 * 3 * seq_len * min(seq_len, 4) * 2))
    if attention == "flash2":
        pairs = sum(min(i + 1, 4) for i in range(seq_len))  # query i sees itself and up to 3 before it
        assert cores[0].flops == pytest.approx(2 * 2 * 2 * 3 * pairs * 2)


def test_unfused_attention_computes_every_score():
    scores, weighted = (
        op_of("attention.scores", attention="unfused"),
        op_of("attention.weighted", attention="unfused"),
    )
    assert scores.flops == weighted.flops == 2 * (2 * 3) * 5 * 5 * 2
    assert (scores.shape, weighted.shape) == ((5, 5, 2, 6), (5, 2, 5, 6))
    softmax = op_of("attention.softmax", attention="unfused")
    assert softmax.bytes == 2 * (2 * 2 * 3 * 5 * 5)  # reads and writes 150 scores


def test_look_ups_and_elementwise_work():
    assert op_of("embedding").flops == 0
    norm = op_of("attention.norm", stack="megatron")
    assert (norm.bytes, norm.kernels) == (2 * 2 * 10 * 6, 1)
    eager = op_of("attention.norm", stack="eager", master_weights=False)
    assert eager.bytes == (10 + 8) * 10 * 6 * 2
    assert eager.kernels == 6


def test_autocast_keeps_the_residual_stream_in_fp32():
    hidden = 10 * 6
    assert op_of("attention.norm").bytes == (4 + 2) * hidden  # fp32 in, 16 bits out for the projection
    assert op_of("attention.norm", stack="eager").bytes == (9 * 4 + 4 + 2) * hidden  # the fp32 chain, and a cast
    assert op_of("attention.norm").saved_bytes == 4 * hidden + 4 * 10
    residual = op_of("mlp.residual", stack="eager")
    assert residual.bytes == (4 + 2 + 4) * hidden  # x in fp32, y in 16 bits, their sum in fp32
    backward = op_of("mlp.residual.backward", stack="eager")
    assert (backward.bytes, backward.kernels) == ((2 * 4 + 4 + 4 + 2) * hidden, 2)  # summed, and cast for y
    assert op_of("mlp.residual", stack="fsdp").bytes == 3 * 2 * hidden


def test_compilers_pad_ragged_matmuls():
    assert op_of("head.logits").shape == (10, 16, 8, 1)  # vocabulary of 11 and width of 6, in vectors of 8
    assert op_of("head.logits", stack="eager").shape == (10, 11, 6, 1)
    assert op_of("head.logits").flops == op_of("head.logits", stack="eager").flops == 2 * 10 * 11 * 6
    assert op_of("mlp.activation").bytes == (2 + 1) * 10 * 8 * 2  # gate and up in, product out
    assert op_of("mlp.activation", PLAIN).bytes == (1 + 1) * 10 * 8 * 2


def test_loss_is_fused_or_taken_in_fp32():
    logits = 10 * 11
    assert op_of("loss.cross_entropy").bytes == 2 * 2 * logits
    # to fp32 (2 in, 4 out), log-softmax (4 in, 4 out)
    assert op_of("loss.cross_entropy", stack="eager").bytes == (2 + 4 + 4 + 4) * logits


def test_experts_run_the_rows_routed_to_them():
    # 10 tokens to 2 of 4 experts: 20 rows, 5 per expert; gate and up [6, 16], down [8, 6]
    assert op_of("router", EXPERTS).flops == 2 * 10 * 6 * 4
    up, down = op_of("experts.up", EXPERTS, stack="eager"), op_of("experts.down", EXPERTS, stack="eager")
    assert (up.shape, down.shape) == ((5, 16, 6, 4), (5, 6, 8, 4))
    assert (up.flops, down.flops) == (2 * 20 * 6 * 16, 2 * 20 * 8 * 6)
    parallel = op_of("experts.up", EXPERTS, ep=2, num_devices=2, dp=2, stack="eager")
    assert parallel.shape == (10, 16, 6, 2)  # half the experts, tokens of both ranks
    dispatch = op_of("moe.dispatch", EXPERTS, ep=2, num_devices=2, dp=2)
    assert (dispatch.bytes_sent, dispatch.copies) == (20 * 6 * 2, 2)


def test_tensor_parallelism_divides_matmuls_and_reduces_activations():
    one, three = step_of(PLAIN), step_of({**PLAIN, "d_ff": 9}, tp=3, num_devices=3)
    qkv = [next(op for op in step.ops if op.name == "attention.qkv") for step in (one, three)]
    assert qkv[0].flops == 3 * qkv[1].flops
    sent = {op.name: (op.collective, op.bytes_sent) for op in three.ops if op.group == "tp"}
    hidden = 10 * 6 * 2
    for name in (
        "attention.all_reduce",
        "attention.all_reduce_grad",
        "mlp.all_reduce",
        "mlp.all_reduce_grad",
    ):
        assert sent[name] == ("all_reduce", hidden)
    assert not [op for op in one.ops if op.kind == "collective" and op.group != "dp"]


def test_sequence_parallelism_replaces_all_reduce_and_shards_norms():
    options = {"tp": 5, "num_devices": 5, "micro_batch": 1}
    flat = {**PLAIN, "n_heads": 5, "n_kv_heads": 5, "head_dim": 2, "d_model": 10, "d_ff": 5}
    without = step_of(flat, **options)
    sharded = step_of(flat, **options, sequence_parallel=True)

    def layer_bytes(step):
        return sum(op.bytes_sent for op in step.ops if op.group == "tp" and op.part == "layer")

    kinds = {op.collective for op in sharded.ops if op.group == "tp" and op.part == "layer"}
    assert kinds == {"all_gather", "reduce_scatter"}
    # an all-reduce is an all-gather and a reduce-scatter; inputs are gathered again for the weight gradients
    assert layer_bytes(sharded) == 2 * layer_bytes(without) + layer_bytes(without) / 2
    norms = [next(op for op in step.ops if op.name == "mlp.norm").bytes for step in (without, sharded)]
    assert norms[0] == 5 * norms[1]


def test_context_parallelism_divides_queries_and_gathers_keys():
    one, two = (op_of("attention.core", seq_len=8, cp=cp, num_devices=cp) for cp in (1, 2))
    assert (one.shape, two.shape) == ((2, 3, 8, 8, 2), (2, 3, 4, 8, 2))
    assert one.flops == 2 * two.flops
    gathers = [op for op in step_of(seq_len=8, cp=2, num_devices=2).ops if op.group == "cp"]
    keys_and_values = 2 * 8 * (2 + 2) * 2  # of the whole sequence, one kv head
    assert {(op.collective, op.bytes_sent) for op in gathers} == {
        ("all_gather", keys_and_values),
        ("reduce_scatter", keys_and_values),
    }


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


def test_tensor_parallelism_gathers_what_was_cast():
    def gathered(**options):
        ops = {
            op.name: op.bytes_sent
            for op in step_of({**PLAIN, "d_ff": 9}, tp=3, sequence_parallel=True, num_devices=3, **options).ops
        }
        return [ops[f"mlp.{name}"] for name in ("all_gather", "regather", "all_gather_grad", "reduce_scatter")]

    plain = gathered(stack="nemo")
    assert gathered(stack="nemo", dtype="fp8") == [
        each * share for each, share in zip(plain, (0.5, 0.5, 0.5, 1), strict=True)
    ]
    assert gathered(stack="fsdp", dtype="fp8") == gathered(stack="fsdp")


def test_data_parallelism_gathers_layers_as_they_were_cast():
    def gathered(dtype, stack="nemo"):
        ops = step_of(dtype=dtype, stack=stack, sharding="zero1", num_devices=2, dp=2).ops
        return next(op.bytes_sent * op.count for op in ops if op.name == "parameters.all_gather")

    weights = step_of(stack="nemo").weights
    in_layers = sum(weight.local * weight.count for weight in weights if weight.part == "layer")
    assert gathered("bf16") - gathered("fp8") == pytest.approx(in_layers)  # 2 bytes to 1
    assert gathered("mxfp8") == gathered("bf16")  # rows and columns are cast from 16 bits, after the gather
    assert gathered("fp8", stack="deepspeed") == gathered("bf16", stack="deepspeed")


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


def test_logged_metrics_cost_time_and_no_memory():
    logits = 10 * 11
    metrics = op_of("loss.metrics", stack="composer")  # two: 2 bytes to fp32, fp32 to log-softmax
    assert (metrics.bytes_read, metrics.bytes_written) == (2 * logits * (2 + 4), 2 * logits * (4 + 4))
    assert metrics.saved_bytes == 0
    assert all(op.name != "loss.metrics" for op in step_of(stack="fsdp").ops)


def test_dropout_is_a_mask_and_a_kernel():
    names = {op.name for op in step_of(PLAIN, dropout=True, attention="unfused").ops}
    assert {"attention.dropout", "embedding.dropout"} <= names
    kept = [op_of("mlp.residual", PLAIN, dropout=flag).saved_bytes for flag in (True, False)]
    assert kept == [10 * 6, 0]  # a byte of mask per element


def test_an_expert_that_ranks_share_gathers_the_tokens_of_all():
    # 64 tokens over tp 4: 16 rows each, to 2 of 4 experts on ep 2 = 2 here: 16 rows an expert
    options = {
        "stack": "megatron",
        "micro_batch": 2,
        "seq_len": 32,
        "tp": 4,
        "num_devices": 4,
        "sequence_parallel": True,
    }
    flat = {**EXPERTS, "n_heads": 4, "n_kv_heads": 4, "d_model": 8}
    whole = op_of("experts.up", flat, ep=2, **options)
    shared = op_of("experts.up", flat, ep=2, etp=2, **options)
    assert whole.shape == (16, 16, 8, 2)  # gate and up of width 8
    assert shared.shape == (32, 8, 8, 2)  # twice the rows, half the width
    gathered = op_of("moe.dispatch_all_gather", flat, ep=2, etp=2, **options)
    assert gathered.bytes_sent == 2 * 16 * 2 * 8 * 2  # 2 ranks x 16 tokens x 2 experts x 8 wide x 2 bytes
