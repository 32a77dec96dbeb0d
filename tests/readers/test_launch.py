"""Which command of a script trains, and what it hands on."""

import pytest

from roofline.readers.launch import launched, named_files, training_jobs
from roofline.readers.shell import read_script


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("axolotl preprocess run.yml\naxolotl train run.yml", "axolotl train run.yml"),
        ("tune download meta-llama/x --output-dir /tmp\ntune run full --config a/b", "tune run full --config a/b"),
        ("litgpt download x\nlitgpt finetune_lora --config c.yaml", "litgpt finetune_lora --config c.yaml"),
        ("llamafactory-cli export e.yaml\nX=1 llamafactory-cli train t.yaml", "llamafactory-cli train t.yaml"),
        ("pip install x\ncp a.yaml b.yaml", None),
        (
            "torchrun --a 1 --b 2 --c 3 eval.py\ntorchrun --a 1 --b 2 --c 3 train.py",
            "torchrun --a 1 --b 2 --c 3 train.py",
        ),
    ],
)
def test_the_command_that_trains(text: str, wanted: str | None) -> None:
    jobs = training_jobs(read_script(text))
    assert [" ".join(words) for words in jobs] == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("torchrun run_train.py --config-file examples/tiny.yaml", ["examples/tiny.yaml"]),
        ("composer train.py yamls/mpt.yaml data_local=x max_duration=10ba", ["yamls/mpt.yaml"]),
        ("accelerate launch --config_file=a.yaml run.py b.yaml", ["b.yaml"]),
        ("python train.py --deepspeed zero.json --lr 1.e-4", []),
    ],
)
def test_files_that_a_command_hands_on(text: str, wanted: list[str]) -> None:
    assert named_files(text.split()) == wanted


def test_devices_of_a_launcher_before_its_variables() -> None:
    assert launched({"nproc_per_node": [4, "full_finetune"]}, {"NPROC_PER_NODE": 8}) == 4
    assert launched({"num_processes": 16, "num_machines": 2}, {}) == 16  # of all machines together
    assert launched({"num_gpus": 8, "num_nodes": 2}, {}) == 16
    assert launched({"nproc_per_node": "gpu"}, {"CUDA_VISIBLE_DEVICES": 0}) == 1
