"""One piece of a search: what is ruled out, and by what the rest is measured."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from roofline.hardware.overrides import override
from roofline.search import sift
from roofline.search.answer import layouts
from roofline.search.grid import Bundle
from roofline.search.sift import _Sift

from .small import DENSE, DEVICE, EXPERTS, TIED, told


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
    if not fitting:  # what comes closest
        assert (found.smallest.tp, found.smallest.micro_batch) == (2, 1)


@pytest.fixture
def added(monkeypatch):
    """What is priced: how much each adds, by its splits, recompute and sharding."""
    priced, added = _Sift._price, {}

    def watched(self):
        waiting = [np.concatenate(columns).tolist() for columns in zip(*self.waiting, strict=True)][:2]
        levels = self._machinery(*map(np.array, waiting)) if waiting else []
        for variant, row, level in zip(*waiting, levels, strict=False):
            columns = {name: int(self.bundle.space.columns[name][row]) for name in ("tp", "pp", "cp", "vp")}
            splits = " ".join(f"{name}{degree}" for name, degree in columns.items() if degree > 1)
            added[splits, self.bundle.trains[variant].recompute, self.sharding] = int(level)
        priced(self)

    monkeypatch.setattr(_Sift, "_price", watched)
    return added


def test_what_splits_add_to_think_about(added):
    """tp and pp 2 each, a second chunk 1, cp 3, recompute 1, sharded gradients or parameters 1; a switch nothing."""
    words = {"recompute": ("none", "full"), "sharding": ("none", "zero1", "fsdp"), "stack": "megatron"}
    layouts(DENSE, DEVICE, num_devices=4, global_batch=8, **words)
    expected = {
        ("", "none", "none"): 0,
        ("", "none", "zero1"): 0,
        ("", "none", "fsdp"): 1,
        ("", "full", "zero1"): 1,
        ("tp2", "none", "zero1"): 2,
        ("pp2", "none", "zero1"): 2,
        ("pp2 vp2", "none", "zero1"): 3,
        ("cp2", "none", "none"): 3,
        ("tp2 pp2", "full", "none"): 5,
        ("tp2 cp2", "full", "none"): 6,
        ("tp2", "full", "fsdp"): 4,
    }
    assert {case: added.get(case) for case in expected} == expected


def test_recompute_that_saves_nothing_is_left_out_unless_all_are_asked_for(tmp_path):
    """With flash attention the selective kind keeps as much as none: it stands in a table of all alone."""
    options = {"num_devices": 2, "global_batch": 4, "sharding": "none", "stack": "megatron"}
    degrees = ["tp", "pp", "vp", "cp", "sequence_parallel", "micro_batch"]
    layouts(TIED, DEVICE, **options, record=tmp_path / "all.csv")
    rows = pd.read_csv(tmp_path / "all.csv").pivot_table("memory_bytes", degrees, "recompute")
    assert (rows["selective"] >= rows["none"]).all()
    assert (rows["full"] < rows["none"]).all()
    kept = layouts(TIED, DEVICE, **options, top=1000).layouts
    assert {each.recompute for each in kept} == {"none", "full"}


SMALL = {
    "num_devices": (1, 2, 4),
    "global_batch": 8,
    "stack": "megatron",
    "sharding": "none",
    "sequence_parallel": False,
}


@pytest.fixture
def calls(monkeypatch):
    """The bundle, and the rows that are looked at, priced or both, of each call."""
    found = {"memory": [], "schedule": []}

    def watch(name, rows_at):
        ours = getattr(Bundle, name)

        def watched(bundle, *given):
            found[name].append((bundle, given[rows_at]))
            return ours(bundle, *given)

        monkeypatch.setattr(Bundle, name, watched)

    watch("memory", 1)
    watch("schedule", 2)
    return found


@pytest.mark.parametrize(("chunk", "rows"), [(40, 5), (16, 2), (3, 1)])
def test_so_many_rows_are_looked_at_as_make_a_chunk(chunk, rows, monkeypatch, calls):
    """Two kinds of recompute and four micro batches: 8 layouts a row."""
    monkeypatch.setattr(sift, "CHUNK", chunk)
    monkeypatch.setattr(_Sift, "_price", lambda self: self.waiting.clear())
    layouts(TIED, DEVICE, **SMALL, recompute=("none", "full"))
    assert max(len(each) for _, each in calls["memory"]) == rows


def test_layouts_wait_until_half_a_chunk_is_priced_at_once(monkeypatch, calls):
    monkeypatch.setattr(sift, "CHUNK", 32)
    monkeypatch.setattr(_Sift, "_wanted", lambda _, variant, *__: np.arange(len(variant)) < 4)  # of each row four
    layouts(TIED, DEVICE, **SMALL, recompute=("none", "full"))
    *most, _ = (len(rows) for _, rows in calls["schedule"])
    assert set(most) == {16}


def test_layouts_of_more_devices_are_looked_at_first_unless_all_are_asked_for(monkeypatch, tmp_path, calls):
    monkeypatch.setattr(sift, "CHUNK", 8)
    for more, first in (({}, [4, 2, 1]), ({"record": tmp_path / "all.csv"}, [1, 2, 4])):
        calls["memory"].clear()
        layouts(TIED, DEVICE, **SMALL, recompute=("none", "full"), **more)
        looked = [int(bundle.space.columns["num_devices"][rows[0]]) for bundle, rows in calls["memory"]]
        assert list(dict.fromkeys(looked)) == first


def test_what_holds_exactly_as_much_as_there_surely_is_fits(monkeypatch, calls):
    layouts(TIED, DEVICE, **SMALL, recompute="none")
    bundle, _ = calls["memory"][0]
    held = bundle.memory("none", np.arange(len(bundle.key_of_row))).held[0][bundle.space.consistent]
    limit = np.sort(held)[len(held) // 2]
    monkeypatch.setattr(Bundle, "sure", property(lambda self: np.full(len(self.key_of_row), limit)))
    found = layouts(TIED, DEVICE, **SMALL, recompute="none")
    assert found.fitting == (held <= limit).sum() > (held < limit).sum()


def test_recompute_that_saves_nothing_is_not_priced(monkeypatch):
    ours, priced = Bundle.schedule, set()

    def watched(bundle, sharding, variant, rows, micro):
        priced.update(bundle.trains[place].recompute for place in variant)
        return ours(bundle, sharding, variant, rows, micro)

    monkeypatch.setattr(Bundle, "schedule", watched)
    layouts(TIED, DEVICE, **SMALL, recompute=("none", "selective", "full"))
    assert priced == {"none", "full"}


def test_layouts_that_the_software_refuses_are_decided_too():
    """Megatron shares no experts in fp16: as many layouts again, none of which is tried."""
    asked = {"num_devices": 4, "global_batch": 8, "stack": "megatron", "ep": 2, "pp": 1, "tp": 1, "cp": 1}
    one, both = (layouts(EXPERTS, DEVICE, **asked, dtype=words) for words in ("bf16", ("bf16", "fp16")))
    assert (both.evaluated, both.fitting) == (2 * one.evaluated, one.fitting)


def test_passes_told_apart_add_to_pipelines(added):
    options = {"num_devices": 4, "global_batch": 8, "recompute": "none", "sharding": "none", "stack": "megatron"}
    layouts(DENSE, DEVICE, **options, schedule="zb-h1")
    assert (added["", "none", "none"], added["tp2", "none", "none"]) == (0, 2)
    assert (added["pp2", "none", "none"], added["tp2 pp2", "none", "none"]) == (2 + 1, 4 + 1)


def test_what_is_decided_is_told_chunk_by_chunk(monkeypatch):
    monkeypatch.setattr(sift, "CHUNK", 8)  # a row at a time, of two kinds of recompute and four micro batches
    told = []
    found = layouts(TIED, DEVICE, **SMALL, recompute=("none", "full"), progress=lambda done, _: told.append(done))
    assert told == sorted(told)
    assert told[-1] == found.evaluated
    assert 0 < np.diff(told).max() <= 8


@pytest.mark.parametrize(("objective", "value"), [("time", 3.0), ("memory", 7.0), ("cost", 12.0), ("energy", 6.0)])
def test_what_a_layout_is_sifted_by(objective, value):
    """3 seconds of 4 devices at half of their power, in 7 bytes."""
    asks = SimpleNamespace(question=SimpleNamespace(objective=objective))
    assert _Sift._objective(asks, 3.0, lambda: 0.5, 7.0, 4) == value
