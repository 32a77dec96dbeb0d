"""The packaged presets."""

import pytest

from roofline.errors import RooflineError
from roofline.model import presets


def test_every_preset_has_a_source_and_an_id_of_its_own():
    sources = presets.preset_sources()
    assert list(sources) == presets.model_ids() == sorted(set(sources))
    assert all(sources.values())


def test_values_are_as_the_file_states_them():
    values = presets.load_preset_values("gpt2-xl")
    assert (values["n_layers"], values["d_model"], values["vocab_size"]) == (48, 1600, 50257)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpt2-xxl", "did you mean 'gpt2-xl'"),
        ("nobody/nothing", "download the config.json and give its path: nothing is fetched"),
        ("./missing/config.json", "no model file './missing/config.json'"),
        ("../gpt2-xl", "no model file"),
    ],
)
def test_what_is_no_preset_is_told_what_to_give(text, words):
    with pytest.raises(RooflineError) as caught:
        presets.load_preset_values(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
