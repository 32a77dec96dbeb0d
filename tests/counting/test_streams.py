"""Copies of the residual stream around each block, by hand."""

from .tiny import TINY, op_of, step_of

T, D, N, ROUNDS = 10, 6, 4, 3  # tokens, width, streams, rounds of Sinkhorn's iteration
FLAT = {**TINY, "residual_streams": N, "sinkhorn_rounds": ROUNDS}
EAGER = {"stack": "eager", "master_weights": False}


def test_streams_are_gathered_before_a_block_and_mixed_behind_it() -> None:
    gathered = op_of("attention.gather_streams", FLAT, **EAGER)
    assert gathered.saved_bytes == T * N * D * (2 + 4)  # the streams, and a copy in fp32 that is normed
    assert op_of("attention.gather_streams", FLAT, stack="compiled").saved_bytes == T * N * D * 2
    mixed = op_of("mlp.mix_streams", FLAT, **EAGER)
    assert mixed.shape == (N, D, N, T)  # T products [n, n] x [n, D]
    assert mixed.flops == 2 * T * N * N * D
    assert op_of("mlp.spread_streams", FLAT, **EAGER).saved_bytes == T * D * 2  # what the block made


def test_streams_that_stay_apart_are_not_mixed() -> None:
    apart = {**FLAT, "streams_apart": True, "sinkhorn_rounds": 0}
    assert "mlp.mix_streams" not in {op.name for op in step_of(apart, **EAGER).ops}
    assert op_of("attention.gather_streams", apart, **EAGER).saved_bytes == T * N * D * 2  # the projection keeps fp32
    assert op_of("mlp.spread_streams", apart, **EAGER).saved_bytes == T * D * 4  # what the block made, cast up


def test_their_weights_are_normalised_by_rows_and_columns() -> None:
    normalised = op_of("mlp.sinkhorn", FLAT, **EAGER)
    assert normalised.kernels == 3 * 2 * ROUNDS  # sum, add, divide
    assert normalised.saved_bytes == T * N * N * 4 * 2 * ROUNDS * (1 + 1 / N)  # numerators and denominators in fp32
    assert op_of("mlp.sinkhorn", FLAT, stack="compiled").kernels == 3


def test_a_single_stream_is_added_to() -> None:
    names = {op.name for op in step_of(TINY, stack="eager").ops}
    assert "mlp.residual" in names
    assert not {"mlp.gather_streams", "mlp.mix_streams", "mlp.sinkhorn"} & names
    assert "mlp.residual" not in {op.name for op in step_of(FLAT, stack="eager").ops}
    assert "head.gather_streams" in {op.name for op in step_of(FLAT, stack="eager").ops}
