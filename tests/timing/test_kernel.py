"""Op times: never below the roofline, arrays element by element like numbers, the effects the data show."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.counting.op import Op
from roofline.errors import RooflineError
from roofline.hardware import HardwareError, all_devices, load_device, override
from roofline.hardware.measured import Attention, Gemm, MemoryBound
from roofline.timing.kernel import expected_time, ideal_time

DEVICES = (
    "a100-sxm-80gb",
    "a100-pcie-80gb",
    "h100-sxm-80gb",
    "h200-sxm-141gb",
    "b200-sxm",
    "gb300",
    "l40s",
    "v100-sxm2-32gb",
    "t4",
    "rtx-4090",
    "mi300x",
    "gaudi2",
)
KERNELS = ("flash1", "flash2", "flash3", "te")
VECTOR = ("elementwise", "normalization", "softmax", "embedding", "optimizer")


def matmul(m, n, k, batch=1, *, dtype="bf16", name="mlp.up", **extra):
    return Op(
        name=name,
        kind="matmul",
        part="layer",
        dtype=dtype,
        flops=2 * m * n * k * batch,
        shape=(m, n, k, batch),
        **{
            "phase": "forward",
            "bytes_read": 2 * batch * (m * k + k * n),
            "bytes_written": 2 * batch * m * n,
            **extra,
        },
    )


def attention(batch, heads, seq, dim, *, phase="forward", causal=True):
    flops = 4 * batch * heads * seq * seq * dim // (2 if causal else 1)
    width = 2 * batch * heads * seq * dim
    if phase == "backward":
        return Op(
            name="attention.core.backward",
            kind="attention",
            phase=phase,
            part="layer",
            dtype="bf16",
            flops=flops * 5 // 2,
            bytes_read=5 * width,
            bytes_written=3 * width,
            shape=(batch, heads, seq, seq, dim),
        )
    return Op(
        name="attention.core",
        kind="attention",
        phase=phase,
        part="layer",
        dtype="bf16",
        flops=flops,
        bytes_read=3 * width,
        bytes_written=width,
        shape=(batch, heads, seq, seq, dim),
    )


def stream(kind, moved, *, flops=0, kernels=1):
    return Op(
        name=kind,
        kind=kind,
        phase="forward",
        part="layer",
        dtype="bf16",
        flops=flops,
        bytes_read=moved / 2,
        bytes_written=moved / 2,
        kernels=kernels,
    )


def working_dtype(device):
    return "bf16" if "bf16" in device.peaks else "fp16"


def for_device(op, device):
    return msgspec.structs.replace(op, dtype=working_dtype(device))


# --- the roofline itself


def test_ideal_is_the_larger_of_compute_and_memory():
    device = load_device("a100-sxm-80gb")
    # 8192 x 16384 x 4096: 2*m*n*k = 1.0995e12 FLOPs at 312e12 FLOP/s
    assert ideal_time(matmul(8192, 16384, 4096), device) == pytest.approx(2 * 8192 * 16384 * 4096 / 312e12)
    # one row: 2*(k + k*n + n) bytes dominate
    moved = 2 * (4096 + 4096 * 16384 + 16384)
    assert ideal_time(matmul(1, 16384, 4096), device) == pytest.approx(moved / device.memory_bandwidth_bytes_per_s)


def test_vector_kinds_run_beside_the_matrix_engines():
    device = load_device("a100-sxm-80gb")
    # 1e12 FLOPs at 19.5e12 FLOP/s (fp32), not at 312e12
    assert ideal_time(stream("elementwise", 8, flops=1e12), device) == pytest.approx(1e12 / 19.5e12)


def test_device_without_a_vector_figure_is_timed_by_bytes():
    device = load_device("tpu-v5p")
    op = stream("normalization", 1e9, flops=1e9)
    assert ideal_time(op, device) == pytest.approx(1e9 / device.memory_bandwidth_bytes_per_s)
    constants = device.measured.memory_bound["normalization"]
    assert expected_time(op, device) == pytest.approx(
        constants.t0 + 1e9 / (constants.bandwidth * device.memory_bandwidth_bytes_per_s)
    )


# --- properties


@settings(max_examples=200)
@given(
    st.sampled_from(DEVICES),
    st.integers(1, 70_000),
    st.integers(1, 70_000),
    st.integers(1, 70_000),
    st.integers(1, 64),
    st.sampled_from(["mlp.up", "mlp.up.wgrad", "experts.up", "experts.up.wgrad"]),
)
def test_matmul_is_never_faster_than_light(device_id, m, n, k, batch, name):
    device = load_device(device_id)
    op = for_device(matmul(m, n, k, batch, name=name), device)
    assert expected_time(op, device) >= ideal_time(op, device)


@settings(max_examples=200)
@given(
    st.sampled_from(DEVICES),
    st.integers(1, 64),
    st.integers(1, 128),
    st.integers(1, 70_000),
    st.integers(1, 512),
    st.sampled_from(["forward", "backward", "recompute"]),
    st.booleans(),
    st.sampled_from(KERNELS),
)
def test_attention_is_never_faster_than_light(device_id, batch, heads, seq, dim, phase, causal, kernel):
    device = load_device(device_id)
    op = for_device(attention(batch, heads, seq, dim, phase=phase, causal=causal), device)
    assert expected_time(op, device, attention=kernel) >= ideal_time(op, device)


@given(st.sampled_from(DEVICES), st.sampled_from(VECTOR), st.floats(1, 1e12), st.floats(0, 1e13), st.integers(1, 10))
def test_streams_are_never_faster_than_light(device_id, kind, moved, flops, kernels):
    device = load_device(device_id)
    op = stream(kind, moved, flops=flops, kernels=kernels)
    assert expected_time(op, device) >= ideal_time(op, device)


@pytest.mark.parametrize("device_id", ["a100-sxm-80gb", "h100-sxm-80gb", "rtx-4090"])
def test_arrays_give_element_by_element_what_numbers_give(device_id):
    device = load_device(device_id)
    m = np.array([1.0, 100, 4096, 4097, 65536])[:, None]
    n = np.array([64.0, 5120, 12288])
    for name in ("mlp.up", "mlp.up.wgrad", "experts.up"):
        together = expected_time(matmul(m, n, 4096.0, name=name), device)
        assert together.shape == (5, 3)
        alone = [[expected_time(matmul(int(a), int(b), 4096, name=name), device) for b in n] for a in m[:, 0]]
        np.testing.assert_allclose(together, alone, rtol=1e-12)
    seq = np.array([128.0, 2048, 8192])
    for phase in ("forward", "backward"):
        together = expected_time(attention(2, 16, seq, 80, phase=phase), device)
        alone = [expected_time(attention(2, 16, int(s), 80, phase=phase), device) for s in seq]
        np.testing.assert_allclose(together, alone, rtol=1e-12)
    moved = np.array([1e3, 1e6, 1e9])
    alone = [expected_time(stream("softmax", x), device) for x in moved]
    np.testing.assert_allclose(expected_time(stream("softmax", moved), device), alone, rtol=1e-12)


def test_grouped_matmuls_compute_whole_tiles():
    device = load_device("gb200")

    def compute(n, m=32768, k=2880, groups=2, **extra):
        op = matmul(m, n, k, groups, form="grouped", bytes_read=0, bytes_written=0, **extra)
        return expected_time(op, device) - device.measured.grouped_gemm.t0

    # tiles of 256: 2880 columns fill 11.25 of 12
    assert compute(2880) == pytest.approx(compute(3072))
    assert compute(2880) == pytest.approx(compute(2816) * 12 / 11)
    sides = {"phase": "backward", "gradient": "weight", "k": 32768}
    assert compute(5760, m=2880, **sides) == pytest.approx(compute(5888, m=3072, **sides))
    assert compute(2880, groups=1) < compute(3072, groups=1)  # one alone is a dense matmul


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 20_000), st.floats(1.01, 4))
def test_more_bandwidth_is_never_slower(m, n, k, factor):
    device = load_device("h100-sxm-80gb")
    rate = device.memory_bandwidth_bytes_per_s / 1e9
    faster = override(device, bandwidth_gb_per_s=rate * factor)
    for op in (matmul(m, n, k), stream("normalization", 2.0 * m * n)):
        assert expected_time(op, faster) <= expected_time(op, device)
        assert ideal_time(op, faster) <= ideal_time(op, device)


# --- what the measurements show


def test_partly_filled_wave_costs_on_ampere_and_not_on_hopper():
    # 108 SMs, 256 x 128 tiles: 216 tiles are two waves; one column of tiles more starts a third
    full, over = matmul(256 * 12, 128 * 18, 8192), matmul(256 * 12, 128 * 19, 8192)
    work = over.flops / full.flops
    ampere, hopper = load_device("a100-sxm-80gb"), load_device("h100-sxm-80gb")
    assert expected_time(over, ampere) / expected_time(full, ampere) > 1.05 * work
    assert expected_time(over, hopper) / expected_time(full, hopper) < 1.01 * work


def test_weight_gradient_costs_more_and_misalignment_too():
    device = load_device("a100-sxm-80gb")
    plain = expected_time(matmul(4096, 4096, 8192), device)
    assert expected_time(matmul(4096, 4096, 8192, gradient="weight", phase="backward"), device) > 1.03 * plain
    odd = matmul(8192, 50257, 1600)
    even = matmul(8192, 50304, 1600)
    assert expected_time(odd, device) > expected_time(even, device)


def test_small_head_dim_wastes_attention_time():
    device = load_device("h100-sxm-80gb")
    wide = attention(1, 16, 8192, 128)  # the same FLOPs in 16 heads of 128 and in 32 of 64
    narrow = attention(1, 32, 8192, 64)
    assert wide.flops == narrow.flops
    assert expected_time(narrow, device, attention="flash3") > 1.1 * expected_time(wide, device, attention="flash3")


def test_padded_head_dim_costs_the_padding():
    device = load_device("a100-sxm-80gb")
    padded, full = attention(1, 16, 8192, 108), attention(1, 16, 8192, 128)
    ratio = expected_time(padded, device) / expected_time(full, device)
    assert 0.97 < ratio < 1.03  # 108 runs as 128: FLOPs saved are not time saved


def test_newer_attention_kernels_are_faster_on_hopper():
    device = load_device("h100-sxm-80gb")
    op = attention(2, 32, 8192, 128)
    times = [expected_time(op, device, attention=kernel) for kernel in ("flash1", "flash2", "flash3")]
    assert times == sorted(times, reverse=True)


def test_chain_of_kernels_pays_each_start():
    device = load_device("a100-sxm-80gb")
    start = device.measured.memory_bound["elementwise"].t0
    once, six = stream("elementwise", 1e6), stream("elementwise", 1e6, kernels=6)
    assert expected_time(six, device) - expected_time(once, device) == pytest.approx(5 * start)


def test_efficiencies_at_published_shapes():
    # MAMF and steady-state rates: A100 .82 to .87 of peak, H100 .72 to .80 (ml-engineering, Azure)
    for device_id, low, high in (("a100-sxm-80gb", 0.80, 0.87), ("h100-sxm-80gb", 0.72, 0.80)):
        device = load_device(device_id)
        op = matmul(16384, 16384, 16384)
        assert low < ideal_time(op, device) / expected_time(op, device) < high


# --- errors


def test_unknown_attention_kernel_names_the_known_ones():
    with pytest.raises(RooflineError, match="did you mean 'flash3'"):
        expected_time(attention(1, 16, 2048, 64), load_device("h100-sxm-80gb"), attention="flash33")


def test_what_no_kernel_of_the_device_runs_is_an_error():
    with pytest.raises(RooflineError, match="unknown op kind 'transfer'"):
        expected_time(stream("transfer", 1e6), load_device("h100-sxm-80gb"))


def test_missing_engine_is_an_error():
    with pytest.raises(HardwareError, match="fp8"):
        expected_time(matmul(1024, 1024, 1024, dtype="fp8"), load_device("a100-sxm-80gb"))


@pytest.mark.parametrize("kind", ["matmul", "attention"])
def test_op_without_a_shape_is_an_error(kind):
    op = msgspec.structs.replace(stream("elementwise", 1e6), kind=kind)
    with pytest.raises(RooflineError, match="without a shape"):
        expected_time(op, load_device("a100-sxm-80gb"))


def test_collectives_are_timed_elsewhere():
    op = msgspec.structs.replace(stream("elementwise", 1e6), kind="collective")
    assert expected_time(op, load_device("a100-sxm-80gb")) == ideal_time(op, load_device("a100-sxm-80gb")) == 0


@pytest.mark.parametrize("name", ["h100-sxm-80gb", "mi300x", "b200-sxm", "gaudi2", "l40s"])
def test_experts_are_never_faster_than_the_dense_matmul_of_their_dtype(name):
    device = load_device(name)
    for dtype in ("bf16", "fp8"):
        if dtype not in device.peaks:
            continue
        dense, experts = (
            expected_time(matmul(4096, 4096, 4096, dtype=dtype, name=what), device) for what in ("mlp.up", "experts.up")
        )
        assert experts >= dense


def test_a_chip_whose_units_are_not_published_is_as_slow_as_its_peak_says():
    b100, b200 = load_device("b100-sxm"), load_device("b200-sxm")
    assert b100.units is None
    for phase in ("forward", "backward"):
        op = attention(2, 32, 4096, 64, phase=phase)
        times = [expected_time(op, device, attention="flash2") for device in (b100, b200)]
        assert times[0] / times[1] == pytest.approx(b200.peaks["bf16"] / b100.peaks["bf16"], rel=0.1)


def test_attention_of_a_training_shape_is_within_the_reach_of_every_chip():
    op = attention(2, 32, 4096, 128)
    slow = {
        device.id: round(expected_time(op, device, attention="flash2") / ideal_time(op, device))
        for device in all_devices()
        if device.kind != "cpu" and "bf16" in device.peaks and "flash2" in device.family.attention
        if expected_time(op, device, attention="flash2") > 15 * ideal_time(op, device)
    }
    assert slow == {}


# --- by hand: an A100 whose kernels start at once and reach half of every rate, but for what a test says

A100 = load_device("a100-sxm-80gb")
PEAK, RATE = A100.peaks["bf16"], A100.memory_bandwidth_bytes_per_s
HALF = Gemm(cap=0.5, bandwidth=0.5, t0_us=0.0, p=2.0, source="by hand")


def chip(units=A100.units, **tables):
    """The A100 with these tables of constants."""
    return msgspec.structs.replace(A100, units=units, measured=msgspec.structs.replace(A100.measured, **tables))


def seconds(gemm, shape=(128, 128, 128, 1), compute=1.0, memory=0.0, units=A100.units, **fields):
    """A matmul of so many seconds at half the peak and at half the bandwidth, on a chip with these constants."""
    moved = {"bytes_read": memory * RATE / 2 * 0.75, "bytes_written": memory * RATE / 2 * 0.25}
    op = msgspec.structs.replace(matmul(*shape), flops=compute * PEAK / 2, **moved, **fields)
    return expected_time(op, chip(units, gemm=msgspec.structs.replace(HALF, **gemm)))


def test_compute_and_memory_meet_as_a_norm():
    assert seconds({}, compute=3, memory=4) == pytest.approx(5)  # 3 and 4 at a right angle
    assert seconds({"t0_us": 2e6}, compute=3, memory=4) == pytest.approx(7)
    assert seconds({"k_half": 64.0}) == pytest.approx(1.5)  # filling costs as much as half of a depth of 128


@pytest.mark.parametrize(("gradient", "factor"), [("weight", 1.25), ("data", 1.0), ("none", 1.0)])
def test_only_gradients_of_weights_take_longer(gradient, factor):
    assert seconds({"wgrad": 1.25}, gradient=gradient) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("shape", "dense", "batched"),
    [
        ((128, 128, 128, 4), 1, 1),
        ((12, 128, 128, 4), 1, 1.5),  # a dense matmul needs no whole tiles of rows
        ((128, 12, 128, 4), 2, 1.5),
        ((128, 128, 12, 4), 2, 1.5),
        ((128, 13, 128, 4), 3, 1.5),
        ((128, 128, 13, 4), 3, 1.5),
        ((9, 9, 15, 4), 3, 1.5),
    ],
)
def test_ragged_rows_by_hand(shape, dense, batched):
    """Twice as long where a row is no multiple of 16 bytes, three times where it is odd; half more in batches."""
    slow = {"misaligned": 2.0, "misaligned_odd": 3.0}
    assert seconds({**slow, "misaligned_batch": 1.5}, shape) == pytest.approx(dense)
    assert seconds({**slow, "misaligned_batch": 1.5}, shape, form="batched") == pytest.approx(batched)
    assert seconds(slow, shape, form="batched") == pytest.approx(dense)  # without a figure of their own


@pytest.mark.parametrize(
    ("m", "n", "batch", "small_tile", "weight", "waste"),
    [
        (256, 128, 108, 4, 1.0, 1),  # one tile a unit
        (256, 128, 162, 4, 1.0, 2 / 1.5),  # one and a half: two waves
        (128, 256, 162, 4, 1.0, 2 / 1.5),
        (256, 128, 162, 4, 0.5, 1.75 / 1.5),  # half of what the last wave lacks
        (128, 128, 162, 1, 1.0, 2 / 1.5 / 0.75),  # a tile of less reuse
        (64, 64, 162, 0.25, 1.0, 2 / 1.5 / 0.375**0.25),
        (192, 128, 216, 4, 1.0, 256 / 192),  # three quarters of a tile
        (1, 1, 1, 4, 1.0, 2),  # at the most
    ],
)
def test_whole_waves_of_whole_tiles_by_hand(m, n, batch, small_tile, weight, waste):
    """On 108 units."""
    assert seconds({"quantisation": weight, "small_tile": small_tile}, (m, n, 64, batch)) == pytest.approx(waste)


def test_where_no_units_are_published_there_are_128():
    gemm = {"quantisation": 1.0, "small_tile": 4.0}
    assert seconds(gemm, (256, 128, 64, 128), units=None) == pytest.approx(1)
    assert seconds(gemm, (256, 128, 64, 129), units=None) == pytest.approx(2 * 128 / 129)


@pytest.mark.parametrize(
    ("shape", "grouped", "gradient", "factor"),
    [
        ((64, 384, 64, 2), {"cap": 0.25}, "none", 2),  # the cap relative to that of one matmul
        ((64, 384, 64, 2), {"cap": 0.75}, "none", 1),  # but never above it
        ((64, 384, 64, 2), {"tile": 256.0}, "none", 512 / 384),
        ((64, 384, 64, 2), {"rows_half": 64.0}, "none", 2),
        ((192, 384, 32, 2), {"tile": 256.0}, "weight", 512 / 384 * 256 / 192),
        ((192, 384, 32, 2), {"rows_half": 64.0}, "weight", 1 + 64 / 32),  # its rows are the depth
        ((192, 384, 32, 2), {"rows_half": 64.0, "tile": 256.0}, "data", 512 / 384 * (1 + 64 / 192)),
        ((64, 384, 64, 1), {"cap": 0.25, "rows_half": 64.0, "tile": 256.0}, "none", 1),  # one alone is dense
    ],
)
def test_experts_in_one_launch_by_hand(shape, grouped, gradient, factor):
    device = chip(gemm=HALF, grouped_gemm=msgspec.structs.replace(HALF, **grouped))
    alone = {"flops": PEAK / 2, "bytes_read": 0, "bytes_written": 0}
    op = msgspec.structs.replace(matmul(*shape), form="grouped", gradient=gradient, **alone)
    assert expected_time(op, device) == pytest.approx(factor)


def test_fused_attention_by_hand():
    constants = Attention(
        cap=0.5, cap_backward=0.25, t0_us=1e6, tile_us=1e6, tile_backward_us=3e6, softmax_dim=32.0, head_multiple=32,
        bandwidth=0.5, source="by hand",
    )  # fmt: skip

    def takes(*shape, memory=0.0, units=108, phase="forward"):
        moved = {"bytes_read": memory * RATE / 2 * 0.75, "bytes_written": memory * RATE / 2 * 0.25}
        op = msgspec.structs.replace(attention(1, 1, 1, 1), shape=shape, phase=phase, flops=PEAK / 2, **moved)
        return expected_time(op, chip(units, attention={"flash2": constants}))

    # 54 heads of 3 tiles of queries on 108 units: two waves for 1.5. Heads of 48 run as 64, and 32 of softmax
    shape = (1, 54, 384, 128, 48)
    assert takes(*shape) == pytest.approx(1 + (64 + 32) / 48 * 2 / 1.5 + 2 * 1)
    assert takes(*shape, phase="recompute") == takes(*shape)
    assert takes(3, 54, 100, 128, 64) == pytest.approx(1 + (64 + 32) / 64 * 2 / 1.5 + 2 * 1)
    # backward one tile of keys a head: a wave for half a one, at half the rate, with 0.4 of the softmax
    assert takes(*shape, phase="backward") == pytest.approx(1 + 2 * (64 + 0.4 * 32) / 48 * 1 / 0.5 + 3)
    assert takes(1, 128, 128, 128, 64, units=None) == pytest.approx(1 + (64 + 32) / 64 + 1)  # on 128 units
    assert takes(*shape, memory=50.0) == pytest.approx(1 + 50)


def test_streams_by_hand():
    device = chip(memory_bound={"softmax": MemoryBound(bandwidth=0.5, t0_us=1e6, source="by hand")})

    def of(memory, busy):
        op = stream("softmax", 0, flops=busy * A100.peaks["fp32"], kernels=2)
        return msgspec.structs.replace(op, bytes_read=memory * RATE * 0.75, bytes_written=memory * RATE * 0.25)

    assert expected_time(of(3, 5), device) == pytest.approx(2 + 6)
    assert expected_time(of(3, 7), device) == pytest.approx(2 + 7)
    assert ideal_time(of(3, 2), device) == pytest.approx(3)
    assert ideal_time(of(3, 7), device) == pytest.approx(7)


def test_the_roofline_reads_and_writes():
    op = msgspec.structs.replace(matmul(8, 8, 8), flops=PEAK, bytes_read=2 * RATE, bytes_written=RATE)
    assert ideal_time(op, A100) == pytest.approx(3)
    assert ideal_time(msgspec.structs.replace(op, flops=5 * PEAK), A100) == pytest.approx(5)
