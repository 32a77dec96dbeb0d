"""A layout in a framework's keys, read back by that framework's reader, is the same layout."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roofline import estimate, layouts
from roofline.config.run import TrainConfig
from roofline.errors import RooflineError
from roofline.readers.emit import emit_layout, emit_names, search_options
from roofline.readers.read import read_run

Write = Callable[[str, str], Path]
NAMES = {"megatron": "run.sh", "torchtitan": "run.toml", "deepspeed": "ds.json", "axolotl": "run.yaml"}


def layout(**fields: Any) -> TrainConfig:
    plain = {"micro_batch": 2, "global_batch": 64, "seq_len": 1024, "num_devices": 16, "tp": 1, "pp": 1, "dp": 16}
    return TrainConfig(**{**plain, **fields})


def written(name: str, text: str, write: Write) -> Path:
    if name == "megatron":
        shape = (
            "--num-layers 32 --hidden-size 64 --num-attention-heads 8 --vocab-size 100 --max-position-embeddings 1024"
        )
        return write("run.sh", f"torchrun --nproc_per_node 8 --nnodes 2 pretrain_gpt.py {shape} {text}")
    more = {
        "torchtitan": '\n[model]\nname = "llama3"\nflavor = "8B"\n',
        "axolotl": "base_model: meta-llama/Meta-Llama-3-8B\n",
    }
    return write(NAMES[name], text + more.get(name, ""))


LAYOUTS = [
    layout(sharding="zero1"),
    layout(sharding="fsdp", recompute="full"),
    layout(sharding="zero3", recompute="full"),
    layout(sharding="zero1", tp=2, dp=8, sequence_parallel=True, recompute="selective"),
    layout(sharding="fsdp", tp=2, cp=2, dp=4, sequence_parallel=True),
    layout(sharding="zero1", tp=2, pp=4, vp=2, dp=2, sequence_parallel=True),
    layout(sharding="none", pp=2, dp=8),
    layout(sharding="none", pp=2, dp=8, schedule="gpipe"),
    layout(sharding="none", pp=2, dp=8, vp=2, schedule="zb-v"),
]


@pytest.mark.parametrize(("name", "train"), list(itertools.product(NAMES, LAYOUTS)))
def test_what_is_emitted_reads_back(name: str, train: TrainConfig, write: Write) -> None:
    try:
        text, _ = emit_layout(name, [train], 8)
    except RooflineError as error:
        assert "cannot run the best layout" in str(error)  # noqa: PT017
        return
    model = "llama-3-8b" if name == "deepspeed" else None
    run = read_run(written(name, text, write), given={"num_devices": 16, "seq_len": 1024}, model=model)
    fields = ["tp", "pp", "cp", "dp", "micro_batch", "global_batch", "seq_len"]
    fields += ["sharding"] if name != "megatron" and train.sharding not in {"zero3", "fsdp"} else []
    fields += ["recompute"] if name != "deepspeed" else []
    fields += ["schedule"] if name == "torchtitan" and train.schedule else []
    fields += ["vp", "sequence_parallel"] if name in {"megatron", "torchtitan"} and train.tp > 1 else []
    assert {field: run.options.get(field, 1) for field in fields} == {field: getattr(train, field) for field in fields}


@pytest.mark.parametrize("devices", [8, 64])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_search_finds_takes_as_long_and_as_much_memory_when_read_back(
    name: str, devices: int, write: Write
) -> None:
    asked = {"num_devices": devices, "global_batch": 128, "seq_len": 4096}
    found = layouts("llama-3-8b", "h100-sxm-80gb", **asked, **search_options(name)).layouts
    text, place = emit_layout(name, [each.train for each in found], 8)
    given = {"num_devices": devices} | ({"seq_len": 4096} if name == "deepspeed" else {})
    run = read_run(write(NAMES[name], text), given=given, model="llama-3-8b")
    again = estimate("llama-3-8b", device="h100-sxm-80gb", **run.options)
    assert again.train.stack == found[place].stack
    assert again.step_time_s == pytest.approx(found[place].step_time_s)
    assert again.memory.needed_bytes == pytest.approx(found[place].memory_bytes)


def test_the_first_that_can_be_said_is_taken() -> None:
    text, place = emit_layout("torchtitan", [layout(sharding="zero1"), layout(sharding="fsdp")], 8)
    assert place == 1
    assert "data_parallel_shard_degree = -1" in text


def test_a_reason_is_given() -> None:
    with pytest.raises(RooflineError, match="axolotl cannot run the best layout: it has no pipeline parallelism"):
        emit_layout("axolotl", [layout(pp=2, dp=8)], 8)


def test_pipelines_and_experts_of_their_own_are_said_or_refused() -> None:
    with pytest.raises(RooflineError, match="cannot run the best layout: its pipelines are 1f1b and interleaved"):
        emit_layout("megatron", [layout(pp=2, dp=8, schedule="zb-h1")], 8)
    split = {"tp": 4, "dp": 4, "ep": 4, "sequence_parallel": True, "sharding": "fsdp"}
    for etp, said in ((1, True), (2, True), (4, False)):  # Megatron-LM takes tp where nothing is said
        text, _ = emit_layout("megatron", [layout(**split, etp=etp)], 8)
        assert (f"--expert-tensor-parallel-size {etp}" in text) == said
        text, _ = emit_layout("torchtitan", [layout(**split, etp=etp)], 8)  # and torchtitan 1
        assert (f"expert_tensor_parallel_degree = {etp}" in text) == (etp > 1)


def test_names() -> None:
    assert emit_names() == ("axolotl", "deepspeed", "megatron", "torchtitan")
