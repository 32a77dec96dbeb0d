"""Projections beside the common parts: rows of those that run several times a token, or once for several."""

from roofline.config.run import TrainConfig
from roofline.counting.op import Op
from roofline.counting.step import build_ops, build_step
from roofline.model.load import model_from_flat

B, S, D = 2, 32, 64


def linear_op(*shape: object) -> Op:
    """The forward op of one projection [d_in, d_out, bias, count, runs, every] of a plain decoder."""
    sizes = {"n_layers": 1, "d_model": D, "n_heads": 4, "d_ff": 128, "vocab_size": 100, "gated_mlp": True}
    model = model_from_flat({**sizes, "model_linears": [["head.extra", *shape]]})
    train = TrainConfig(micro_batch=B, seq_len=S, dtype="fp32", stack="eager")
    return next(op for op in build_ops(model, train) if op.name == "head.extra" and op.phase == "forward")


def test_a_projection_that_runs_four_times_a_token_keeps_four_inputs() -> None:
    """The hidden states of a residual stream of four copies, ahead of the layer that predicts further ahead."""
    op = linear_op(D, D, False, 1, 4)
    assert op.shape is not None
    assert op.shape[0] == 4 * B * S
    assert op.saved_bytes == 4 * B * S * D * 4


def test_merged_tokens_share_a_row() -> None:
    op = linear_op(4 * D, D, False, 1, 1, 4)
    assert op.shape is not None
    assert op.shape[0] == B * S / 4
    assert op.saved_bytes == B * S * D * 4


def test_a_pooled_row_is_one_of_a_sequence() -> None:
    op = linear_op(D, D, False, 1, 1, 0)
    assert op.shape is not None
    assert op.shape[0] == B


def test_a_filter_of_each_channel_is_no_matrix() -> None:
    """Muon takes matrices: of Mamba's convolution, [4, 1] for each of 96 channels, it takes none."""
    sizes = {"n_layers": 1, "d_model": D, "n_heads": 4, "d_ff": 128, "vocab_size": 100, "gated_mlp": True}
    linears = [["recurrence.in", D, 96], ["recurrence.convolution", 4, 1, True, 96]]
    step = build_step(model_from_flat({**sizes, "linears": linears}), TrainConfig(seq_len=S))
    held = {weight.name: weight.matrices for weight in step.weights}
    assert held["recurrence.convolution"] == ()
    assert [(shape.rows, shape.columns, shape.number) for shape in held["recurrence.in"]] == [(D, 96, 1)]
