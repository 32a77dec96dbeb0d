"""The model that a run file names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.read import read_run

from .run_files import AXOLOTL, TITAN

Write = Callable[[str, str], Path]


def test_torchtitan_names_a_flavor_it_does_not_know(write: Write) -> None:
    with pytest.raises(RooflineError, match=r"run.toml \(torchtitan\): the model 'llama3:9b' is not among the presets"):
        read_run(write("run.toml", TITAN.replace('"8B"', '"9B"')))


def test_a_model_in_a_folder_beside_the_file(write: Write) -> None:
    config = '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, '
    config += '"num_key_value_heads": 4, "intermediate_size": 128, "vocab_size": 100}'
    write("mine/config.json", config)
    run = read_run(
        write("run.yml", AXOLOTL.replace("NousResearch/Meta-Llama-3-8B", "./mine").replace("lora_r: 32", "lora_r: 8"))
    )
    assert run.model is not None
    assert run.model.n_layers == 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc", "a" * 500, "..", "$(touch x)", "x\u0000y"])
def test_names_of_models_are_never_paths_out(write: Write, name: str) -> None:
    import json

    with pytest.raises(RooflineError):
        read_run(write("run.yml", AXOLOTL.replace("NousResearch/Meta-Llama-3-8B", json.dumps(name))))


def test_a_model_that_is_no_name_is_none(write: Write) -> None:
    with pytest.raises(RooflineError, match=r"does not say the model|are of no framework"):
        read_run(write("run.yaml", "model:\n  num_layers: 3\n"))
