"""What to train: every figure of a ladder is that of a plan, and the best size is the law's."""

import pytest

from roofline.errors import RooflineError
from roofline.planning.cost import Terms
from roofline.planning.ladder import ladder
from roofline.planning.laws import law
from roofline.planning.plan import DoesNotFit, plan

ASKED = {"device": "h100-sxm-80gb", "num_devices": 64, "deadline_s": "7d", "terms": Terms(price=2.5)}


def test_every_rung_is_a_plan_that_spends_the_time_there_is():
    found = ladder(**ASKED)
    assert len(found.rungs) == 5
    for rung in found.rungs:
        assert rung.plan.wall_time_s == pytest.approx(7 * 86400, rel=1e-3)
    small = found.rungs[0].plan
    again = plan(small.model, "h100-sxm-80gb", tokens=small.tokens, num_devices=64, terms=Terms(price=2.5))
    assert again.wall_time_s == pytest.approx(small.wall_time_s)
    assert again.cost == pytest.approx(small.cost)
    losses = [rung.verdict.loss for rung in found.rungs]
    assert found.best == 2 == losses.index(min(losses))


@pytest.mark.parametrize("name", ["chinchilla-refit", "deepseek"])
def test_the_best_size_is_the_laws_for_the_compute_that_it_then_has(name):
    found = ladder("a100-sxm-80gb", num_devices=8, deadline_s="3d", law=name)
    best = found.rungs[found.best]
    chosen = law(name)
    assert chosen.size_of(best.plan.model) == pytest.approx(chosen.optimal(best.verdict.flops).size, rel=0.15)
    assert best.verdict.flops == pytest.approx(found.flops, rel=0.1)


def test_a_compute_gives_each_size_its_tokens():
    found = ladder("h100-sxm-80gb", flops="1e22", num_devices=64, law="chinchilla")
    for rung in found.rungs:
        assert 6 * rung.parameters * rung.plan.tokens == pytest.approx(1e22, rel=1e-6)
        assert rung.plan.num_devices == 64
    best = found.rungs[found.best]
    assert best.plan.tokens / best.parameters == pytest.approx(20, rel=0.1)
    assert {each.law: each for each in found.advised}["minicpm"].tokens > 2 * best.plan.tokens


def test_a_budget_alone_is_spent_in_thirty_days():
    found = ladder("h100-sxm-80gb", budget="20k", terms=Terms(price=2.0))
    best = found.rungs[found.best].plan
    assert best.cost <= 20_000
    assert best.wall_time_s <= 30 * 86400
    assert "assumed a deadline of 30.0 days" in found.notes[0]


def test_sizes_that_do_not_fit_are_left_out_with_what_they_need():
    found = ladder("rtx-4090", num_devices=1, deadline_s="365d")
    assert 1 <= len(found.rungs) < 5
    assert "does not fit on 1 x rtx-4090" in found.notes[0]
    with pytest.raises(DoesNotFit):
        ladder("rtx-4090", num_devices=1, flops="1e26")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing to plan: give --flops"),
        ({"num_devices": 8}, "nothing to plan: give --flops"),
        ({"flops": 7}, "flops: 7 is out of range"),
        ({"budget": 1000}, "needs a price"),
        ({"flops": "1e22", "law": "moore"}, "unknown scaling law 'moore'"),
    ],
)
def test_bad_input_is_named(options, words):
    with pytest.raises(RooflineError, match=words):
        ladder("h100-sxm-80gb", **options)
