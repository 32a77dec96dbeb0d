"""Every command answers about a preset or a recorded config, or refuses in one line; here a few, in the script all."""

from pathlib import Path

import pytest

import roofline

from ...maintain import script

sweep_models = script("sweep_models")


def test_all_presets_and_recorded_configs_are_asked_about(tmp_path):
    found = dict(sweep_models.models(tmp_path))
    assert set(roofline.model_ids()) <= set(found)
    assert len(found) > len(roofline.model_ids()) + 300
    assert all(Path(typed).exists() for name, typed in found.items() if name != typed)


@pytest.mark.parametrize("question", ["count", "estimate", "decode", "memory", "mfu", "plan"])
def test_a_few_of_every_kind_answer_or_are_refused_in_one_line(tmp_path, question):
    for name, typed in list(sweep_models.models(tmp_path))[50::150]:
        status, problem = sweep_models.ask(question, typed)
        assert not problem, f"{name}: {problem}"
        assert status in {0, 2, 3}


def test_what_is_no_model_is_one_line():
    assert sweep_models.ask("count", "no-such-model") == (2, "")
