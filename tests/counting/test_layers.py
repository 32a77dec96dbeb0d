"""What stands around the matmuls of a layer, at both ends of the model, and what ranks send each other."""

from .tiny import PLAIN, op_of, step_of


def test_the_gradient_of_the_embedding_is_a_whole_table():
    assert op_of("embedding.grad_fill", stack="eager").bytes_written == 2 * 11 * 6
    assert op_of("embedding.grad_accumulate", stack="eager").bytes_written == 4 * 11 * 6


def test_backward_of_the_loss_reads_twelve_and_writes_ten_bytes_per_logit():
    loss = op_of("loss.cross_entropy.backward", stack="eager")
    # fill 4; gradient 4 and output 4 in, 4 out; cast 4 in, 2 out: of 10 x 11 logits
    assert (loss.bytes_read, loss.bytes_written) == (12 * 110, 10 * 110)


def test_loss_is_fused_or_taken_in_fp32():
    logits = 10 * 11
    assert op_of("loss.cross_entropy").bytes == 2 * 2 * logits
    # to fp32 (2 in, 4 out), log-softmax (4 in, 4 out)
    assert op_of("loss.cross_entropy", stack="eager").bytes == (2 + 4 + 4 + 4) * logits


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


def test_tensor_parallelism_divides_matmuls_and_reduces_activations():
    one, three = step_of(PLAIN), step_of({**PLAIN, "d_ff": 9}, tp=3, num_devices=3)
    qkv = [next(op for op in step.ops if op.name == "attention.qkv") for step in (one, three)]
    assert qkv[0].flops == 3 * qkv[1].flops
    sent = {op.name: (op.collective, op.bytes_sent) for op in three.ops if op.group == "tp"}
    hidden = 10 * 6 * 2
    for name in ("attention.all_reduce", "attention.all_reduce_grad", "mlp.all_reduce", "mlp.all_reduce_grad"):
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


def test_sequence_parallelism_shards_the_mask_of_the_embedding():
    # Megatron-LM scatters embeddings before it drops: s b h bytes over t in a stage (arXiv:2205.05198, section 4.3)
    options = {"tp": 3, "dropout": True, "stack": "megatron"}
    masks = [op_of("embedding.dropout", PLAIN | {"d_ff": 9}, **options, sequence_parallel=on) for on in (False, True)]
    assert [op.saved_bytes for op in masks] == [10 * 6, 10 * 6 / 3]


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


def test_torchtitan_gathers_what_was_cast_where_one_scale_holds_for_a_whole_tensor():
    def gathered(recipe):
        options = {"dtype": "fp8", "low_precision_recipe": recipe} if recipe else {}
        step = step_of({**PLAIN, "d_ff": 9}, tp=3, sequence_parallel=True, num_devices=3, stack="torchtitan", **options)
        return sum(op.bytes_sent for op in step.ops if op.name == "mlp.all_gather")

    assert gathered("current") == gathered(None) / 2
    assert gathered("rowwise") == gathered(None)


def test_gathered_logits_are_whole_on_every_rank():
    options = {"tp": 3, "sequence_parallel": False}
    split, gathered = (
        {op.name: op for op in step_of({**PLAIN, "d_ff": 9, "vocab_size": 12}, stack=stack, **options).ops}
        for stack in ("eager", "parallel")
    )
    # T 10, vocabulary 12: 4 columns on each rank
    assert split["head.logits"].flops == gathered["head.logits"].flops == 2 * 10 * 6 * 4
    assert split["loss.cross_entropy"].flops == 5 * 10 * 4
    assert gathered["loss.cross_entropy"].flops == 5 * 10 * 12
    assert gathered["loss.all_gather"].bytes_sent == 10 * 12 * 2
    assert "loss.all_reduce" in split
    assert "loss.all_reduce" not in gathered
