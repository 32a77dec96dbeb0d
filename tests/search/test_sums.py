"""A few sums stand for all ops: nothing is lost on the way."""

import pytest

from roofline.config.settle import train_config
from roofline.counting.op import total
from roofline.counting.step import build_step
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.search.sums import by_memory, by_term, merged_weights
from roofline.timing.ranks import price

OPTIONS = {"seq_len": 512, "micro_batch": 2, "stack": "nemo", "tp": 2}


@pytest.mark.parametrize("model", ["gpt2", "mixtral-8x7b"])
def test_sums_by_cause_hold_what_the_ops_do(model: str) -> None:
    step = build_step(load_model(model), train_config(OPTIONS))
    kept = sum(figures["saved_bytes"] for _, figures in by_memory(step.ops).values())
    heads = total(step.ops, "saved_bytes", where=lambda op: op.part == "head" and op.phase != "forward")
    assert kept + heads == pytest.approx(total(step.ops, "saved_bytes"))
    priced = [
        item for item in price(step, load_device("h100-sxm-80gb")) if item.op.part != "step"
    ]  # the update's apart
    for by_pass in (False, True):
        sums = by_term(priced, by_pass=by_pass)
        seconds = sum(figures["seconds"] for _, figures in sums.values())
        assert seconds == pytest.approx(sum(item.expected * item.op.count for item in priced))
    assert len(by_term(priced, by_pass=True)) > len(by_term(priced, by_pass=False))


def test_merged_weights_are_as_many_parameters_in_fewer_places() -> None:
    step = build_step(load_model("mixtral-8x7b"), train_config(OPTIONS))
    merged = merged_weights(step)
    assert len(merged) < len(step.weights)
    assert sum(each.local * each.count for each in merged) == sum(each.local * each.count for each in step.weights)
