"""Which framework a file is of, and which files are one run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.gather import is_run_file
from roofline.readers.read import read_run

from .run_files import AXOLOTL, TITAN

Write = Callable[[str, str], Path]


def test_axolotl_with_deepspeed_beside_it(write: Write) -> None:
    write("deepspeed_configs/mine.json", '{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}')
    run = read_run(write("run.yml", AXOLOTL + "deepspeed: deepspeed_configs/mine.json\n"))
    assert run.options["sharding"] == "zero3"
    assert run.said["offload"] == "parameters"
    assert len(run.report.files) == 2


def test_a_file_outside_the_folder_is_not_opened(write: Write) -> None:
    write("secret.json", '{"zero_optimization": {"stage": 3}}')
    with pytest.raises(RooflineError, match="not beside it: give it with --with"):
        read_run(write("inner/run.yml", AXOLOTL + "deepspeed: ../secret.json\n"))


def test_a_description_of_a_model_is_no_run_file(write: Write) -> None:
    sizes = '"num_layers": 19, "num_attention_heads": 24, "patch_size": 1'
    assert is_run_file(write("run.json", f"{{{sizes}}}"))
    for name in ("model_type", "_class_name"):
        assert not is_run_file(write("config.json", f'{{"{name}": "FluxTransformer2DModel", {sizes}}}'))


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: 2\n",
        "model:\n  name: gpt2\n  hidden: 768\ntrain:\n  lr: 1e-4\n",
        "model: gpt2\nlearning_rate: 0.1\nbatch_size: 4\n",
    ],
)
def test_of_no_framework(text: str, write: Write) -> None:
    with pytest.raises(RooflineError, match="of no framework that is known"):
        read_run(write("run.yaml", text))


@pytest.mark.parametrize("text", ["", "import torch\n", "lr = 0.1\n"])
def test_any_python_is_no_run_of_nanogpt(text: str, write: Write) -> None:
    with pytest.raises(RooflineError, match="of no framework .*; FILE.py:FUNCTION traces the PyTorch module"):
        read_run(write("train.py", text))


def test_a_script_that_only_starts_another(write: Write) -> None:
    with pytest.raises(RooflineError, match="no command in it trains: give the script that starts the training itself"):
        read_run(write("run.sh", "PP=2\nGBS=32\n. ./CONFIG.sh\n. ./SBATCH.sh\nexit 0\n"))


def test_files_of_two_frameworks(write: Write) -> None:
    with pytest.raises(RooflineError, match="give the files of one run"):
        read_run(write("run.toml", TITAN), more=[write("run.yml", AXOLOTL)])


def test_a_framework_may_be_said(write: Write) -> None:
    path = write("run.yaml", "model_name_or_path: gpt2\nper_device_train_batch_size: 1\n")
    with pytest.raises(RooflineError, match="may be a file of .* say which with --framework hf-trl or llama-factory"):
        read_run(path)
    assert read_run(path, framework="llama-factory", given={"seq_len": 512}).options["lora_rank"] == 8
    with pytest.raises(RooflineError, match="unknown framework 'megatron'"):
        read_run(path, framework="megatron")
