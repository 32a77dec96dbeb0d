"""A few sums stand for all ops: nothing is lost on the way."""

from typing import Any

import msgspec
import pytest

from roofline.config.settle import train_config
from roofline.counting.op import total
from roofline.counting.step import build_step
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.search.sums import accumulates, by_memory, by_term, merged_weights, of_passes
from roofline.timing.ranks import PricedOp, price

OPTIONS = {"seq_len": 512, "micro_batch": 2, "stack": "nemo", "tp": 2}


@pytest.mark.parametrize("model", ["gpt2", "mixtral-8x7b"])
def test_sums_by_cause_hold_what_the_ops_do(model: str) -> None:
    step = build_step(load_model(model), train_config(OPTIONS))
    sums = by_memory(step.ops)
    kept = sum(figures["saved_bytes"] for _, figures in sums.values())
    assert kept == pytest.approx(total(step.ops, "saved_bytes"))
    assert all(figures["saved_bytes"] > 0 for _, figures in sums.values())  # what keeps nothing has no sum
    priced = [
        item for item in price(step, load_device("h100-sxm-80gb")) if item.op.part != "step"
    ]  # the update's apart
    for by_pass in (False, True):
        sums = by_term(priced, by_pass=by_pass)
        seconds = sum(figures["seconds"] for _, figures in sums.values())
        assert seconds == pytest.approx(sum(item.expected * item.op.count for item in priced))
        for name in ("kernels", "units"):
            launched = sum(getattr(item.op, name) * item.op.count for item in priced)
            assert sum(figures[name] for _, figures in sums.values()) == launched
    assert len(by_term(priced, by_pass=True)) > len(by_term(priced, by_pass=False))


def test_merged_weights_are_as_many_parameters_in_fewer_places() -> None:
    step = build_step(load_model("mixtral-8x7b"), train_config(OPTIONS))
    merged = merged_weights(step)
    assert len(merged) < len(step.weights)
    assert sum(each.local * each.count for each in merged) == sum(each.local * each.count for each in step.weights)
    one_by_one = build_step(load_model("gpt2"), train_config({**OPTIONS, "optimizer": "muon"}))
    assert merged_weights(one_by_one) == list(one_by_one.weights)


def test_logits_and_loss_stay_apart() -> None:
    # 2 x 512 tokens; half of Mixtral's vocabulary of 32,000 on each of two ranks, bf16; the hidden state is of 4,096
    sums = by_memory(build_step(load_model("mixtral-8x7b"), train_config(OPTIONS)).ops)
    figures = {key[2]: found for key, (_, found) in sums.items() if key[0] == "head"}
    assert figures["logits"]["saved_bytes"] == 1024 * 4096 * 2
    assert figures["logits"]["bytes_written"] == figures["loss"]["saved_bytes"] == 1024 * 16_000 * 2
    assert set(figures) == {None, "logits", "loss"}  # the norm before them is like any other
    assert {key[2] for key in sums if key[0] != "head"} == {None}


def test_what_depends_on_the_number_of_micro_batches() -> None:
    options = {"stack": "nemo", "dtype": "fp8", "seq_len": 512, "micro_batch": 2, "global_batch": 8}
    ops = build_step(load_model("gpt2"), train_config(options)).ops
    assert {op.role for op in ops if of_passes(op)} == {"grad_accumulate", "weight_cast"}
    assert {op.role for op in ops if accumulates(op)} == {"grad_accumulate"}


def test_launches_stand_at_the_first_term_of_their_place() -> None:
    """A matmul of a layer three times, and its backward pass; apart where the host deals tokens out between them."""
    step = build_step(load_model("gpt2"), train_config(OPTIONS))
    op = next(op for op in step.ops if op.part == "layer" and op.kind == "matmul")
    forward = PricedOp(msgspec.structs.replace(op, count=3, kernels=2, units=5), 0.5)
    backward = PricedOp(msgspec.structs.replace(op, phase="backward", count=1, kernels=7, units=0), 4.0)
    dealing = PricedOp(msgspec.structs.replace(op, role="dispatch", kernels=11), 0.0)

    def found(*priced: PricedOp) -> list[Any]:
        sums = by_term(priced, by_pass=True).values()
        return [(op.count, *(each[name] for name in ("seconds", "kernels", "units"))) for op, each in sums]

    assert found(forward, backward) == [(1, 1.5, 6 + 7, 15), (1, 4.0, 0, 0)]
    assert found(forward, backward, dealing)[:2] == [(1, 1.5, 6, 15), (1, 4.0, 7, 0)]
    once = PricedOp(msgspec.structs.replace(op, count=1, kernels=1, units=0), 1.0)
    other, adding = (
        PricedOp(msgspec.structs.replace(once.op, role=role), 1.0) for role in ("query", "grad_accumulate")
    )
    assert found(once, other) == [(1, 2.0, 2, 0)]
    assert found(once, adding) == [(1, 1.0, 1, 0)] * 2  # its time depends on the number of micro batches
