"""What model code keeps that writes its operations out: casts to fp32, learned scales, products by a gate."""

import pytest

from roofline.model.load import model_from_flat

from .tiny import EXPERTS, PLAIN, TINY, op_of, step_of

T, D, H, B, S = 10, 6, 3, 2, 5  # tokens, width, heads, sequences and their length


def saved(name, flat, **options):
    """Bytes of one layer, where weights and activations are in 16 bits throughout."""
    return op_of(name, flat, stack="eager", master_weights=False, **options).saved_bytes


def names(flat, stack="eager"):
    return {op.name for op in step_of(flat, stack=stack).ops}


def test_a_router_in_fp32_keeps_casts_of_its_operands():
    flat = {**EXPERTS, "router_fp32": True}
    assert saved("router", EXPERTS) == 2 * T * D
    assert saved("router.upcast", flat) == 4 * (T * D + 4 * D)  # hidden states, and the matrix of 4 experts
    assert saved("router", flat) == 0  # what is cast need not stay
    assert saved("router", {**flat, "d_ff_shared": 8}) == 2 * T * D  # but for a shared expert
    assert "router.upcast" not in names(flat, "megatron")


@pytest.mark.parametrize(
    ("fields", "scores", "softmax"),
    [
        ({}, 2 * 3 * T * D, (4 + 2) * B * H * S * S),  # q, k and v; the softmax in fp32, and what is cast back
        ({"softmax_fp32": False}, 2 * 3 * T * D, 2 * B * H * S * S),
        ({"rotary": False}, 2 * 3 * T * D, 2 * B * H * S * S),
        ({"scores_fp32": True}, (4 + 4 + 2) * T * D, (4 + 2) * B * H * S * S),
    ],
)
def test_what_unfused_attention_casts_up(fields, scores, softmax):
    flat = {**PLAIN, "rotary": True, **fields}
    assert saved("attention.scores", flat, attention="unfused") == scores
    assert saved("attention.softmax", flat, attention="unfused") == softmax


def test_a_scale_of_each_block_and_of_each_head_keeps_what_it_multiplies():
    flat = {**TINY, "layer_scale": True, "head_gate": True}
    for name in ("attention.scale", "mlp.scale", "attention.head_gate"):
        assert saved(name, flat) == 2 * T * D
    assert not {"attention.scale", "attention.head_gate"} & names(TINY)


def test_products_of_a_layer_without_attention():
    flat = {**TINY, "no_attention": True, "linears": [["convolution.in", D, 3 * D]], "mixer_kept": 5 * D}
    assert saved("recurrence.products", flat) == 2 * T * 5 * D
    assert "recurrence.products" not in names({**TINY, "mixer_kept": 5 * D})


def test_a_layer_norm_in_fp32_without_a_weight_is_one_kernel_on_a_copy():
    flat = {**TINY, "norm": "layer", "norm_weight": False, "norm_fp32": True}
    assert saved("attention.norm", flat) == 4 * T * D + 8 * T  # the copy; mean and deviation of each token


def test_a_router_in_fp32_runs_in_fp32_but_under_autocast():
    flat = {**EXPERTS, "router_fp32": True}
    for name in ("router", "router.dgrad", "router.wgrad"):
        assert op_of(name, flat, stack="eager", master_weights=False).dtype == "fp32"
        assert op_of(name, flat, stack="fsdp", num_devices=2).dtype == "fp32"  # its mixed precision is no autocast
        assert op_of(name, flat, stack="eager").dtype == "bf16"
        assert op_of(name, EXPERTS, stack="fsdp", num_devices=2).dtype == "bf16"
    read = op_of("router", flat, stack="eager", master_weights=False).bytes_read
    assert read == 4 * (T * D + D * 4)  # hidden states, and the matrix of 4 experts
    assert "router.upcast" not in {op.name for op in step_of(flat, stack="eager").ops}
    outside = {**flat, "router_outside_autocast": True}  # its code turns autocast off
    assert op_of("router", outside, stack="eager").dtype == "fp32"
    assert op_of("router", outside, stack="megatron").dtype == "bf16"  # other code


def test_scores_of_attention_and_of_an_indexer_in_fp32():
    flat = {**PLAIN, "rotary": True, "scores_fp32": True, "index_heads": 2, "index_head_dim": 4, "index_fp32": True}
    options = {"stack": "eager", "master_weights": False, "attention": "unfused"}
    for name in ("attention.scores", "attention.index.scores", "attention.index.sum"):
        assert op_of(name, flat, **options).dtype == "fp32"
        assert op_of(name, flat, **{**options, "master_weights": True}).dtype == "bf16"  # autocast
    assert op_of("attention.weighted", flat, **options).dtype == "bf16"


def test_attention_that_torch_runs_in_fp32_as_a_whole():
    flat = {**PLAIN, "rotary": True, "core_fp32": True}
    assert saved("attention.scores", flat, attention="unfused") == 4 * 3 * T * D  # q, k and v
    assert saved("attention.softmax", flat, attention="unfused") == 4 * B * H * S * S
    for name in ("attention.scores", "attention.weighted", "attention.weighted.dgrad_a"):
        assert op_of(name, flat, stack="eager", attention="unfused").dtype == "fp32"  # autocast or not


def test_what_a_head_has_before_its_logits():
    flat = {**PLAIN, "head_transform": True, "activation": "gelu_new"}
    assert saved("head.activation", flat) == 4 * 2 * T * D  # of eight operations four keep an input
    assert saved("head.norm", flat) == 2 * T * D + 8 * T


def test_a_soft_cap_of_logits_keeps_what_tanh_made():
    flat = {**TINY, "logits_softcap": True}
    assert saved("head.softcap", flat) == 2 * T * 11
    assert "head.softcap" not in names(flat, "compiled")  # its loss caps them itself


def test_constants_multiply_and_keep_nothing():
    flat = {**TINY, "embedding_scaled": True, "residual_scaled": True, "logits_scaled": True}
    multipliers = {"embedding.multiplier": D, "attention.multiplier": D, "mlp.multiplier": D, "head.multiplier": 11}
    for name, width in multipliers.items():
        assert saved(name, flat) == 0
        assert op_of(name, flat, stack="eager").bytes == 2 * 2 * T * width
    assert not multipliers.keys() & names(flat, "compiled")


@pytest.mark.parametrize(
    ("fields", "each"),
    [
        ({"norm": "layer", "norm_written_out": True}, 4 + 4 + 2),  # twice what is left of the mean, and that scaled
        ({"norm": "layer", "norm_fp32": True}, 4 + 4 + 4),
        ({"norm_keeps_input": True}, 4 + 2 + 2),  # the copy, the scaled value, the input
    ],
)
def test_what_norms_keep_that_are_written_out(fields, each):
    assert saved("attention.norm", {**TINY, **fields}) == each * T * D + 4 * T


def test_learned_scores_of_positions_are_kept_whatever_the_batch():
    flat = {**PLAIN, "rotary": True, "position_scores": True}
    assert saved("attention.positions", flat) == 2 * H * S * S + S * S  # and the mask that they are put behind
    assert saved("attention.positions", {**flat, "causal": False}) == 2 * H * S * S
    assert saved("attention.positions.lookup", {**flat, "position_lookup": True}) == 8 * S * S  # numbers of rows
    crossed = {**flat, "cross_attention": True, "cross_position_scores": True}
    assert saved("cross_attention.positions", crossed) == 2 * H * S * S
    assert "cross_attention.positions" not in names({**flat, "cross_attention": True})


def test_scores_that_each_sequence_makes_are_kept_with_their_mask():
    assert saved("attention.positions", {**TINY, "sequence_scores": True}) == 2 * B * H * S * S + B * S * S


@pytest.mark.parametrize("field", ["sinks_scale", "scores_clamped"])
def test_what_reads_masked_scores_before_their_softmax_keeps_them(field):
    flat = {**PLAIN, "rotary": True, field: True}
    assert saved("attention.bound", flat, attention="unfused") == 2 * B * H * S * S
    assert "attention.bound" not in names(flat)  # in the fused kernel


def test_a_sink_as_a_factor_keeps_the_output():
    assert saved("attention.sink_scale", {**TINY, "sinks_scale": True}, attention="unfused") == 2 * T * D


def test_a_gate_in_fp32_keeps_its_sigmoid_so():
    flat = {**TINY, "attention_gate": True, "attention_gate_fp32": True}
    assert saved("attention.gate", flat) == (4 + 2) * T * D  # and the product, cast down
    assert op_of("attention.gate", flat, stack="eager").saved_bytes == 2 * 2 * T * D  # autocast has its own rules


def test_an_activation_in_fp32_keeps_casts_of_both_inputs_and_its_result():
    flat = {**TINY, "activation_fp32": True}
    assert saved("mlp.activation", flat) == 3 * 4 * T * 8
    assert saved("experts.activation", {**EXPERTS, "gated_mlp": True, "activation_fp32": True}) == 3 * 4 * 2 * T * 8


def test_passes_that_are_subtracted_read_queries_and_keys_once():
    flat = {**TINY, "n_kv_heads": H, "core_passes": 2, "difference_norm": True}
    statistics = 4 * B * 2 * H * S
    assert saved("attention.core", flat) == 2 * (1 + 1 + 2 + 2) * T * D + statistics  # q, k; v and o of each pass
    assert saved("attention.difference", flat) == 2 * 2 * T * D  # both outputs, joined
    assert saved("attention.difference_norm", flat) == 4 * T * D + 4 * T * D // (2 * 2)  # heads of 2, in pairs
    assert saved("attention.out", flat) == 2 * T * D


def test_a_norm_of_queries_without_a_weight_keeps_no_product():
    flat = {**TINY, "qk_norm": "head", "qk_norm_weight": False}
    assert saved("attention.q_norm", flat) == 4 * T * D + 4 * T * H


def test_a_gated_activation_written_out_keeps_both_factors_as_well():
    assert saved("mlp.activation", {**TINY, "activation": "gelu_new"}) == (4 + 2) * 2 * T * 8
    assert saved("mlp.activation", {**TINY, "activation": "silu_clamped"}) == 5 * 2 * T * 8
    # both tanh, the sigmoid, the gate that it multiplies, their product and the other half
    assert saved("mlp.activation", {**TINY, "activation": "situ"}) == 6 * 2 * T * 8


@pytest.mark.parametrize(
    ("activation", "alone"),  # tensors of autograd for transformers' classes on 16 bits, their output left out
    [
        ("gelu", 1), ("gelu_10", 2), ("gelu_accurate", 4), ("gelu_fast", 7), ("gelu_new", 4), ("gelu_python", 3),
        ("gelu_python_tanh", 4), ("gelu_pytorch_tanh", 1), ("hardswish", 1), ("laplace", 1), ("leaky_relu", 1),
        ("linear", 0), ("mish", 1), ("prelu", 1), ("quick_gelu", 2), ("relu", 0), ("relu2", 1), ("relu6", 1),
        ("sigmoid", 0), ("silu", 1), ("sqrtsoftplus", 1), ("swish", 1), ("tanh", 0), ("xielu", 4.5),
    ],
)  # fmt: skip
def test_every_activation_of_transformers_keeps_what_its_gradient_needs(activation, alone):
    assert saved("mlp.activation", {**PLAIN, "activation": activation}) == alone * 2 * T * 8
    assert saved("mlp.activation", {**TINY, "activation": activation}) == (alone + 2) * 2 * T * 8  # and both factors
    compiled = op_of("mlp.activation", {**PLAIN, "activation": activation}, master_weights=False)
    assert compiled.saved_bytes == min(alone, 1) * 2 * T * 8


def test_a_convolution_keeps_its_input_once_and_what_an_activation_reads():
    entry = ["embedding.convolution", 3 * 7, D, True, 1, 2, 1, 1.5, 1]  # kernel 3 of 7 channels and stride 2; runs 2
    flat = {**TINY, "model_linears": [entry]}
    assert saved("embedding.convolution", flat) == 2 * (2 * T * 3 * 7 / 1.5)
    assert op_of("embedding.convolution", flat, stack="eager").bytes_read == 2 * (2 * T * 21 / 1.5 + 21 * D)
    assert saved("embedding.convolution.activation", flat) == 2 * 2 * T * D


SEES = {**PLAIN, "kind": "vision", "vocab_size": 0, "causal": False, "learned_positions": 0, "final_norm": False}
IMAGE = {**SEES, "image_size": 32, "patch_size": 8, "tokens_beside": 0}  # of 16 patches


def test_an_input_that_lies_otherwise_is_copied_for_each_projection():
    flat = {**TINY, "inputs_copied": True}
    assert saved("attention.qkv", flat) == 3 * saved("attention.qkv", TINY) == 3 * 2 * T * D
    assert saved("mlp.up", flat) == 2 * saved("mlp.up", TINY) == 2 * 2 * T * D  # gate and up
    copies = op_of("attention.copies", flat, stack="eager", master_weights=False)
    assert (copies.bytes, copies.kernels) == (2 * 3 * 2 * T * D, 3)  # three read and written
    assert not any(name.endswith(".copies") for name in names(flat, "megatron"))


def test_a_norm_behind_a_block_keeps_what_the_block_made():
    flat = {**TINY, "norms_per_layer": 4}
    fused = op_of("attention.post_norm", flat, stack="megatron", master_weights=False)
    assert fused.saved_bytes == 2 * T * D + 4 * T  # and a statistic of each token


def test_a_weight_of_directions_and_lengths_is_kept_as_it_was_made():
    flat = {**TINY, "model_linears": [["embedding.convolution", 4, 3, True, 2, 1, 1, 1, 0, False, True]]}
    assert saved("embedding.convolution.weight_norm", flat) == 2 * 4 * 3 * 2
    assert saved("embedding.convolution", flat) == 2 * 2 * T * 4


def test_angles_that_are_learned_keep_all_factors_in_fp32():
    flat = {**PLAIN, "rotary": True, "rotary_learned": True}
    assert saved("attention.rotary", flat) == 2 * 4 * (2 * T * D)  # queries and keys, as they are and rotated
    assert saved("attention.rotary", {**PLAIN, "rotary": True}) == 0


def test_scores_of_distances_and_of_rows_and_columns():
    distances = op_of("attention.distances", {**PLAIN, "relative_scores": True}, stack="eager")
    assert distances.shape == (S, 2 * S - 1, D // H, B * H)
    assert saved("attention.distances", {**PLAIN, "relative_scores": True}) == 2 * (
        T * D + B * H * (2 * S - 1) * D // H
    )
    block = {**PLAIN, "relative_scores": True, "causal": False, "window": 4}
    assert op_of("attention.distances", block, stack="eager").flops == 2 * (T * H) * (D // H) * 4
    assert saved("attention.distances", block) == 2 * (T * D + 4 * 4 * D // H)  # a key for each pair of a block's
    assert saved("attention.positions", block) == 2 * B * H * S * 4
    axes = op_of("attention.axes", {**IMAGE, "axis_scores": True}, stack="eager", seq_len=16)
    assert axes.flops == 2 * (B * 16 * H) * (D // H) * (4 + 4)  # each query meets four rows and four columns


def test_tiles_of_an_image_are_sequences_and_padded_at_its_edges():
    flat = {**IMAGE, "window": 9, "tiled": True}
    scores = op_of("attention.scores", flat, stack="eager", attention="unfused", seq_len=16)
    assert scores.shape == (9, 9, D // H, B * H * 4)  # 4 x 4 patches in 2 x 2 tiles of 3 x 3
    assert saved("attention.qkv", {**flat, "tiled": False}, seq_len=16) == 2 * B * 16 * D
    assert saved("attention.qkv", flat, seq_len=16) == 2 * B * 36 * D
    assert op_of("mlp.up", flat, stack="eager", seq_len=16).shape[0] == B * 16


def test_images_of_a_batch_share_one_mask():
    assert saved("mask", {**IMAGE, "masked": True}, seq_len=16) == 2 * (B * 16) ** 2
    assert "mask" not in names({**IMAGE, "masked": True}, "megatron")


def test_images_attended_to_one_by_one_are_joined():
    assert saved("attention.transpose", {**PLAIN, "outputs_joined": True}) == 2 * T * D


def test_a_masked_autoencoder_embeds_all_patches_and_goes_on_with_some():
    flat = {**IMAGE, "image_tokens": 4}
    assert model_from_flat(flat).patches.number() == 4
    patch = op_of("embedding.patch", flat, stack="eager", seq_len=4)
    assert patch.shape == (B * 16, D, 3 * 8 * 8, 1)
    # an index of eight bytes for each feature that goes on, and all that was embedded
    assert saved("embedding.gather", flat, seq_len=4) == 8 * B * 4 * D + 2 * B * 16 * D
