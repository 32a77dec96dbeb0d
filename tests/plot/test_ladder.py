import pytest

from roofline.planning.ladder import ladder
from roofline.plot.ladder import ladder_data


@pytest.fixture(scope="module")
def found():
    return ladder("a100-sxm-80gb", flops=1e21, num_devices=8)


def test_the_picture_shows_the_rungs_and_the_advice_of_every_law(found):
    data = ladder_data(found)
    assert [point.best for point in data.rungs].index(True) == found.best
    assert [(p.parameters, p.tokens, p.loss, p.wall_time_s) for p in data.rungs] == [
        (rung.parameters, rung.plan.tokens, rung.verdict.loss, rung.plan.wall_time_s) for rung in found.rungs
    ]
    assert [(p.series, p.parameters, p.tokens) for p in data.advised] == [
        (each.law, each.parameters, each.tokens) for each in found.advised
    ]


@pytest.mark.parametrize("law", ["chinchilla-refit", "kaplan"])  # with a loss, and without
def test_it_is_drawn_and_written(run, tmp_path, law):
    picture, data = tmp_path / "ladder.svg", tmp_path / "ladder.csv"
    options = ("--kind", "ladder", "--flops", "1e21", "--num-devices", "8", "--law", law, "--data", str(data))
    status, _, _ = run("plot", "-d", "a100-sxm-80gb", *options, "--output", str(picture))
    assert status == 0
    assert picture.read_text().startswith("<?xml")
    assert data.read_text().startswith("series,parameters,tokens,loss,")


def test_a_model_is_not_asked_for(refused):
    err = refused("plot", "gpt2", "-d", "a100-sxm-80gb", "--kind", "ladder", "--flops", "1e21")
    assert "leave 'gpt2' out" in err
