"""Every command answers about a preset or a recorded config, or refuses in one line; here a few, in the script all."""

import importlib.util
from pathlib import Path

import pytest

import roofline

FILE = Path(__file__).parents[3] / "scripts" / "maintain" / "sweep_models.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("sweep_models", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_presets_and_recorded_configs_are_asked_about(script, tmp_path):
    found = dict(script.models(tmp_path))
    assert set(roofline.model_ids()) <= set(found)
    assert len(found) > len(roofline.model_ids()) + 300
    assert all(Path(typed).exists() for name, typed in found.items() if name != typed)


@pytest.mark.parametrize("question", ["count", "estimate", "decode", "memory", "mfu", "plan"])
def test_a_few_of_every_kind_answer_or_are_refused_in_one_line(script, tmp_path, question):
    for name, typed in list(script.models(tmp_path))[50::150]:
        status, problem = script.ask(question, typed)
        assert not problem, f"{name}: {problem}"
        assert status in {0, 2, 3}


def test_what_is_no_model_is_one_line(script):
    assert script.ask("count", "no-such-model") == (2, "")
