"""Scaling laws: the tables of their papers come out, and the optimum is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.errors import RooflineError
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters
from roofline.planning.laws import law, laws

# Parameters, FLOPs and tokens of arXiv:2203.15556: table 3 (approach 1), table A3 (approaches 2 and 3; its 175B row of
# approach 3, 1.26e24 FLOPs for 12.0T tokens, lacks a factor of 10 and is left out)
PUBLISHED = [
    ("chinchilla-1", 400e6, 1.92e19, 8.0e9),
    ("chinchilla-1", 1e9, 1.21e20, 20.2e9),
    ("chinchilla-1", 67e9, 5.76e23, 1.5e12),
    ("chinchilla-1", 1e12, 1.27e26, 21.2e12),
    ("chinchilla-1", 10e12, 1.30e28, 216.2e12),
    ("chinchilla-2", 400e6, 1.84e19, 7.7e9),
    ("chinchilla-2", 67e9, 6.88e23, 1.7e12),
    ("chinchilla-2", 1e12, 1.59e26, 26.5e12),
    ("chinchilla-2", 10e12, 1.75e28, 292.0e12),
    ("chinchilla-3", 400e6, 2.21e19, 9.2e9),
    ("chinchilla-3", 10e9, 2.46e22, 410.1e9),
    ("chinchilla-3", 67e9, 1.71e24, 4.1e12),
    ("chinchilla-3", 1e12, 5.65e26, 94.1e12),
    ("chinchilla-3", 40e9, 5.76e23, 2.4e12),  # section 3.4: Gopher's compute
    ("llama-3", 402e9, 3.8e25, 16.55e12),  # arXiv:2407.21783, section 3.2.1
]


@pytest.mark.parametrize(("name", "size", "flops", "tokens"), PUBLISHED)
def test_the_tables_of_the_papers_come_out(name, size, flops, tokens):
    found = law(name).optimal(flops)
    assert found.size == pytest.approx(size, rel=0.07)  # tables and exponents are rounded to two digits
    assert found.tokens == pytest.approx(tokens, rel=0.09)


def test_the_exponent_of_the_refit_is_that_of_its_paper():
    loss = law("chinchilla-refit").loss
    assert loss.exponent == pytest.approx(0.5126, abs=2e-4)  # arXiv:2404.10102: beta / (alpha + beta), 0.4874 of tokens
    # 67B at Gopher's compute by approaches 1 and 2: the refit agrees with them
    assert law("chinchilla-refit").optimal(5.76e23).size == pytest.approx(67e9, rel=0.1)


def test_deepseek_allocates_flops_per_token():
    found = law("deepseek").optimal(1e20)
    assert found.size == pytest.approx(0.1715 * 1e20**0.5243, rel=1e-3)
    assert found.tokens == pytest.approx(5.8316 * 1e20**0.4757, rel=1e-3)
    model = load_model("llama-2-7b")
    # 72 layers x width^2 holds for a feed-forward of 4 widths with two matrices; of three of 11,008 it is as below
    per_layer = 4 * 4096**2 + 3 * 4096 * 11008
    assert law("deepseek").size_of(model, 4096) == 6 * 32 * per_layer + 12 * 32 * 4096 * 4096


def test_what_counts_as_size():
    model = load_model("gpt2")
    assert law("chinchilla").size_of(model) == 124_439_808
    # no token table (50,257 x 768), no positions (1,024 x 768); the head is the table
    assert law("kaplan").size_of(model) == 124_439_808 - 50_257 * 768 - 1_024 * 768
    experts = load_model("mixtral-8x7b")
    assert law("chinchilla").size_of(experts) == count_parameters(experts).active


@given(name=st.sampled_from(list(laws())), exponent=st.floats(18, 27))
def test_a_law_spends_the_whole_compute_and_can_be_turned_round(name, exponent):
    chosen, flops = law(name), 10**exponent
    best = chosen.optimal(flops)
    assert chosen.flops(best.size, best.tokens) == pytest.approx(flops)
    assert chosen.optimal_tokens(best.size) == pytest.approx(best.tokens, rel=1e-6)


@given(name=st.sampled_from(["chinchilla-3", "chinchilla-refit"]), exponent=st.floats(18, 27), factor=st.floats(1.2, 8))
def test_no_other_size_has_less_loss_at_the_same_compute(name, exponent, factor):
    chosen, flops = law(name), 10**exponent
    best = chosen.optimal(flops)
    least = chosen.loss.at(best.size, best.tokens)
    for size in (best.size / factor, best.size * factor):
        assert chosen.loss.at(size, flops / 6 / size) > least
    assert chosen.loss.flops(least) == pytest.approx(flops, rel=1e-6)


def test_overtraining_costs_what_the_optimal_size_of_the_same_loss_saves():
    chosen, model = law("chinchilla-refit"), load_model("llama-3-8b")
    said = chosen.judge(model, 15e12)
    assert said.flops == 6 * 8_030_261_248 * 15e12
    # the better training has the same loss, and its compute is what is left
    assert chosen.loss.at(said.better_parameters, said.better_tokens) == pytest.approx(said.loss)
    assert 6 * said.better_parameters * said.better_tokens == pytest.approx(said.least_flops)
    assert said.excess == pytest.approx(said.flops / said.least_flops - 1)
    on_the_optimum = chosen.judge(model, said.optimal_tokens)
    assert on_the_optimum.excess == pytest.approx(0, abs=1e-6)
    assert law("kaplan").judge(model, 15e12).excess is None


def test_every_law_says_where_it_is_from():
    for each in laws().values():
        assert "arXiv:" in each.source
        assert [each.tokens_per_parameter, each.exponent, each.loss].count(None) == 2, each.name


def test_an_unknown_law_is_named():
    with pytest.raises(RooflineError, match="unknown scaling law 'chinchila': did you mean 'chinchilla'"):
        law("chinchila")
    with pytest.raises(RooflineError, match="unknown scaling law 3"):
        law(3)
