"""Paths of a module's parts."""

# ruff: noqa: E402  torch is optional: it is imported where the suite finds it

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from roofline.tracing.places import ancestors, is_compiled, places_of, plain


def test_the_index_of_equal_siblings_is_starred():
    net = nn.Sequential(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), nn.ReLU())
    places = places_of(net)
    assert (places["0.1"], places["1"]) == ("0.*", "1")


def test_words_that_torch_puts_in_are_left_out():
    assert plain("_orig_mod.layer._checkpoint_wrapped_module.up") == "layer.up"
    assert ancestors("a.b.weight") == ["", "a", "a.b"]


def test_a_module_is_compiled_by_either_way():
    net, method = nn.Linear(2, 2), nn.Linear(2, 2)
    method.compile()
    assert [is_compiled(each) for each in (net, torch.compile(net), method)] == [False, True, True]
