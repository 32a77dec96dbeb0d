"""The model that a run file names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.read import read_run

Write = Callable[[str, str], Path]


TITAN = """
# a preset for 16 H100 GPUs
[model]
name = "llama3"
flavor = "8B"
[training]
local_batch_size = 2
seq_len = 4096
steps = 10
[parallelism]
tensor_parallel_degree = 2
data_parallel_shard_degree = -1
[activation_checkpoint]
mode = "full"
"""


AXOLOTL = """
base_model: NousResearch/Meta-Llama-3-8B
load_in_8bit: true
adapter: lora
lora_r: 32
lora_target_linear: true
sequence_len: 4096
sample_packing: true
micro_batch_size: 2
gradient_accumulation_steps: 4
optimizer: adamw_bnb_8bit
gradient_checkpointing: true
bf16: auto
datasets: [{path: some/data}]
"""


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
