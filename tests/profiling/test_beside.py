"""A trace beside the estimate of its model: ops meet by phase and shape."""

import pytest

from roofline import estimate
from roofline.profiling.beside import beside, options_from
from roofline.profiling.profile import profile

LAYERS, TOKENS = 12, 1024  # GPT-2: width 768, feed-forward 3072, 12 heads of 64


@pytest.fixture(scope="module")
def trace(tmp_path_factory, kineto):
    """The up and down projections and attention of GPT-2's forward pass, and its q, k, v one by one; 10 us each."""
    found = kineto()
    found.step(1, 0, 10_000)
    at = 0.0
    attention = [[2, 12, 512, 64]] * 3
    for _ in range(LAYERS):
        for dims in ([[TOKENS, 768], [768, 3072]], [[TOKENS, 3072], [3072, 768]], *[[[TOKENS, 768], [768, 768]]] * 3):
            found.run("aten::mm", "nvjet", at, at, 10, dims=dims)
            at += 20
        found.run("aten::_scaled_dot_product_flash_attention", "flash_fwd_kernel", at, at, 10, dims=attention)
        at += 20
    return found.write(tmp_path_factory.mktemp("t") / "t.json")


def test_the_configuration_is_read_from_attention(trace):
    assert options_from(profile([trace])) == {"micro_batch": 2, "seq_len": 512, "dtype": "bf16"}


def test_matmuls_meet_by_shape_whatever_their_order(trace):
    result = profile([trace])
    expected = estimate("gpt2", result.device, micro_batch=2, seq_len=512)
    found = beside(result, expected)
    by_shape = {pair.shape: pair for pair in found.pairs if pair.kind == "matmul"}
    # up [1024, 768] @ [768, 3072] and down [1024, 3072] @ [3072, 768] are one shape in another order
    feed_forward = by_shape[768, 1024, 3072, 1]
    assert (feed_forward.measured_runs, feed_forward.expected_runs) == (24, 24)
    assert feed_forward.measured_s == pytest.approx(240e-6)
    assert {"mlp.up", "mlp.down"} == set(feed_forward.name.split(", "))
    # ours joins q, k and v in one of 2304 columns; the trace runs three of 768
    projections = by_shape[768, 768, 1024, 1]
    assert projections.measured_runs == 36
    assert "attention.qkv" in projections.name
    assert found.phases == ("forward",)
    assert "no backward" in " ".join(found.notes)


def test_the_command_takes_what_the_trace_shows(trace, printed, answered):
    data = answered("profile", str(trace), "--model", "gpt2")
    assert data["beside"]["model"] == "gpt2"
    assert "micro batch 2" in data["notes"][-1]
    out = printed("profile", str(trace), "--model", "gpt2", "--micro-batch", "2", "--seq-len", "512")
    assert "Beside the estimate of gpt2" in out


def test_an_unknown_model_is_one_line(trace, refused):
    assert refused("profile", str(trace), "--model", "gpt-unheard-of").count("\n") == 1
