"""Facts of the ways tokens travel to experts."""

import pytest

from roofline.config.dispatch import dispatcher, dispatchers
from roofline.errors import RooflineError


def test_every_fact_has_its_source_and_shares_are_shares() -> None:
    for facts in dispatchers().values():
        assert facts.source
        assert facts.summary
        for share in (facts.eta_inside, facts.eta_between):
            assert share is None or 0 < share <= 1


def test_one_by_name() -> None:
    assert dispatcher("alltoall") is dispatchers()["alltoall"]
    with pytest.raises(RooflineError, match="^unknown dispatcher 'alltoal': did you mean 'alltoall'"):
        dispatcher("alltoal")


def test_tokens_are_not_sent_once_where_all_are_gathered() -> None:
    assert not any(facts.gathers and (facts.once_per_rank or facts.once_per_node) for facts in dispatchers().values())
