"""What crosses between device and host."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.offload import activation_transfers, host_transfers, transfer, update_on_host
from roofline.counting.op import Op

TRAINED, HELD = 1000, 1000  # parameters that a rank updates, and those of its slice


def train(**fields: Any) -> TrainConfig:
    plain = {"micro_batch": 1, "global_batch": 4, "seq_len": 8, "num_devices": 1, "dp": 1, "tp": 1, "pp": 1}
    return TrainConfig(**{**plain, **fields})


def moved(ops: list[Op]) -> dict[str, float]:
    return {op.name: float(op.bytes_sent * op.count) for op in ops if op.kind == "transfer"}


def test_an_optimizer_on_the_host_gets_gradients_and_gives_16_bit_weights() -> None:
    ops = host_transfers(train(offload=("optimizer",), sharding="none", gradient_dtype="fp32"), TRAINED, HELD)
    assert moved(ops) == {"offload.gradients": 4 * TRAINED, "offload.weights": 2 * TRAINED}


@pytest.mark.parametrize(
    ("stack", "sharding", "each"), [("parallel", "none", 2), ("parallel", "zero3", 4), ("fsdp", "zero2", 4)]
)
def test_deepspeed_sums_gradients_on_the_host_in_fp32(stack: str, sharding: str, each: int) -> None:
    ops = host_transfers(train(offload=("optimizer",), sharding=sharding, stack=stack, gradient_dtype="bf16"), 10, 10)
    assert ops[0].bytes_sent == each * 10


def test_parameters_come_up_for_both_passes_of_every_micro_batch() -> None:
    ops = host_transfers(train(offload=("parameters",), sharding="zero3"), TRAINED, HELD)
    assert moved(ops) == {"offload.parameters": 2 * HELD * 4 * 2}  # 16 bits, 4 micro batches, forward and backward


def test_from_drives_they_cross_these_too() -> None:
    ops = host_transfers(train(offload=("parameters",), sharding="zero3", offload_to="nvme"), TRAINED, HELD)
    (swap,) = [op for op in ops if op.kind == "nvme"]
    assert (swap.bytes_read, swap.bytes_written) == (2 * HELD * 4 * 2, 2 * TRAINED)


def test_an_update_on_the_host_reads_its_state_from_drives_where_that_lives_there() -> None:
    assert [op.kind for op in update_on_host(train(), "adamw", 160, 140, 80)] == ["host"]
    host, swap = update_on_host(train(offload=("optimizer",), offload_to="nvme"), "adamw", 160, 140, 80)
    assert (host.bytes, swap.bytes_read, swap.bytes_written) == (300, 80, 80)


def test_what_a_layer_keeps_goes_down_and_comes_up() -> None:
    kept = Op(
        name="x", kind="matmul", phase="forward", part="layer", dtype="bf16", flops=0, bytes_read=0, bytes_written=0,
        saved_bytes=50, count=6,
    )  # fmt: skip
    down, up = activation_transfers([kept], [6], share=0.5)
    assert (down.phase, up.phase) == ("forward", "backward")
    assert down.bytes_sent == pytest.approx(50)  # each of 6 layers
    assert down.count == up.count == 3  # half of them


def test_a_transfer_computes_nothing() -> None:
    op = transfer("x", 10, 2)
    assert (op.flops, op.bytes, op.bytes_sent, op.count, op.kernels) == (0, 0, 10, 2, 0)
