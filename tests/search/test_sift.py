"""One piece of a search: what is ruled out, and by what the rest is measured."""

import numpy as np
import pytest

from roofline.hardware.overrides import override
from roofline.search import sift
from roofline.search.answer import layouts
from roofline.search.grid import Bundle
from roofline.search.sift import _Sift

from .small import DENSE, DEVICE, EXPERTS, told


@pytest.mark.parametrize("objective", ["time", "cost", "energy", "memory"])
def test_objectives(objective):
    result = layouts(DENSE, DEVICE, num_devices=(4, 8), global_batch=32, objective=objective)
    values = {
        "time": lambda layout: layout.step_time_s,
        "cost": lambda layout: layout.device_seconds_per_step,
        "energy": lambda layout: layout.device_seconds_per_step * layout.energy_share,
        "memory": lambda layout: layout.memory_bytes,
    }
    found = [values[objective](layout) for layout in result.layouts]
    assert found == pytest.approx(sorted(found), rel=1e-12)


def test_parameters_are_sharded_under_a_pipeline_only_if_asked():
    options = {"num_devices": 16, "global_batch": 64, "sharding": "fsdp"}
    assert {layout.pp for layout in layouts(DENSE, DEVICE, **options, top=50).layouts} == {1}
    assert {layout.pp for layout in layouts(DENSE, DEVICE, **options, pp=2).layouts} == {2}


def test_nothing_is_sharded_over_one_rank():
    both = layouts(DENSE, DEVICE, num_devices=4, global_batch=32, sharding=("none", "zero1"), top=500).layouts
    ranks = {word: {each.dp * each.cp for each in both if each.sharding == word} for word in ("none", "zero1")}
    assert 1 in ranks["none"]
    assert min(ranks["zero1"]) > 1
    tried = [
        layouts(DENSE, DEVICE, num_devices=1, global_batch=32, sharding=words).evaluated
        for words in ("none", ("none", "zero1"))
    ]
    assert tried[0] == tried[1] > 0


SPACES = {
    "dense": (DENSE, {"num_devices": (1, 4, 8, 24, 64), "global_batch": 192}),
    "experts": (EXPERTS, {"num_devices": (8, 16), "global_batch": 64, "stack": "megatron"}),
    "passes told apart": (DENSE, {"num_devices": (8, 16, 32), "global_batch": 64, "pp": (2, 4), "schedule": "zb-h1"}),
}


@pytest.mark.parametrize("space", SPACES)
def test_a_step_takes_no_less_than_what_it_surely_takes(space, monkeypatch):
    model, options = SPACES[space]
    priced, compared = Bundle.schedule, []

    def compare(bundle, sharding, variant, rows, micro):
        found = priced(bundle, sharding, variant, rows, micro)
        compared.append(bundle.least(variant, rows, micro) / found.total)
        return found

    monkeypatch.setattr(Bundle, "schedule", compare)
    monkeypatch.setattr(_Sift, "_wanted", lambda _, variant, *__: np.ones(len(variant), dtype=bool))
    layouts(model, DEVICE, **options)
    shares = np.concatenate(compared)
    assert 0 < shares.min() <= shares.max() < 1
    assert np.median(shares) > 0.5  # and it is worth asking


@pytest.mark.parametrize("objective", ["time", "cost", "energy", "memory"])
@pytest.mark.parametrize("space", SPACES)
def test_what_is_left_behind_would_not_have_been_kept(space, objective, monkeypatch):
    model, options = SPACES[space]
    narrow = {"top": 2, "objective": objective, **options}
    quick, counts = told(layouts(model, DEVICE, **narrow)), []
    priced = Bundle.schedule

    def count(bundle, sharding, variant, rows, micro):
        counts.append(len(rows))
        return priced(bundle, sharding, variant, rows, micro)

    monkeypatch.setattr(Bundle, "schedule", count)
    layouts(model, DEVICE, **narrow)
    few = sum(counts)
    counts.clear()
    monkeypatch.setattr(_Sift, "_wanted", lambda _, variant, *__: np.ones(len(variant), dtype=bool))
    assert told(layouts(model, DEVICE, **narrow)) == quick
    assert few < sum(counts)


def test_nothing_is_left_behind_where_all_are_asked_for_or_a_step_was_faster(monkeypatch, tmp_path):
    """What a step surely takes is of our own figures, and says nothing of a cluster that was timed."""
    monkeypatch.setattr(sift, "CHUNK", 64)  # a row at a time: the first are known when the next are looked at
    options = {"num_devices": 8, "global_batch": 32, "top": 1, "front": False}
    result = layouts(DENSE, DEVICE, **options, record=tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + result.fitting
    monkeypatch.setattr(_Sift, "_wanted", None)  # not to be asked
    timed = layouts(DENSE, DEVICE, **options, measured=0.6, measured_at={"num_devices": 8, "micro_batch": 1})
    assert timed.fitting == result.fitting
    assert timed.layouts[0].step_time_s < result.layouts[0].step_time_s


@pytest.mark.parametrize(("memory_gib", "fitting"), [(80, 5), (24, 1), (2, 0)])
def test_layouts_are_counted_whether_or_not_they_are_looked_at(memory_gib, fitting):
    """Four sequences on two devices: dp 2 with micro batches of 1 and 2, tp 2 with those of 1, 2 and 4.

    21 GB of weights, gradients and optimizer state: in 24 GiB and in 2 the rows without tp are ruled out unseen.
    """
    one_kind = {"pp": 1, "cp": 1, "sharding": "none", "recompute": "none", "sequence_parallel": False}
    device = override(DEVICE, memory_gib=memory_gib)
    found = layouts(DENSE, device, num_devices=2, global_batch=4, stack="megatron", **one_kind)
    assert (found.evaluated, found.fitting) == (5, fitting)
