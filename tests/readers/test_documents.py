"""Files as tables: what is read, what is refused, and that nothing runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.documents import load_documents
from roofline.readers.values import Unresolved

Write = Callable[[str, str], Path]


def values(path: Path) -> dict[str, object]:
    return load_documents(path)[0].values


def test_yaml_words_are_numbers_and_flags_as_people_mean_them(write: Write) -> None:
    path = write(
        "a.yaml", "lr: 1e-5\nsteps: 5e6\nlen: 500_000\nname: '4096'\nlength: 2048  # tokens\nuse: no\nx: null\n"
    )
    found = values(path)
    assert found == {"lr": 1e-5, "steps": 5e6, "len": 500_000, "name": "4096", "length": 2048, "use": False, "x": None}


def test_anchors_are_filled_in_and_merged(write: Write) -> None:
    path = write("a.yaml", "base: &b {tp: 2, pp: 4}\nrun:\n  <<: *b\n  pp: 1\n")
    assert values(path)["run"] == {"pp": 1, "tp": 2}


def test_a_bomb_of_anchors_ends_early(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(RooflineError, match="once anchors are filled in"):
        values(write("bomb.yaml", "\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: !!python/object/apply:os.system [touch pwned]\n", "asks for an object"),
        ("a.yaml", "a: !custom 1\n", "asks for an object"),
        ("a.yaml", "a: *nowhere\n", "nowhere|alias"),
        ("a.yaml", "a: 1\nb: 2\na: 3\n", "'a' stands twice"),
        ("a.yaml", "a: 1\n---\na: 2\n", "2 documents"),
        ("a.yaml", "a: [1, 2\n", "not YAML"),
        ("a.yaml", "", "empty"),
        ("a.yaml", "- 1\n- 2\n", "no table"),
        ("a.yaml", "a: " + "[" * 60 + "]" * 60, "nested"),
        ("a.json", '{"a": 1, "a": 2}', "'a' stands twice"),
        ("a.json", '{"a": ', "not JSON"),
        ("a.json", '{"a": ' + "[" * 100_000, "nested|not JSON"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", "5000 digits"),
        ("a.toml", "a = \n", "not valid TOML"),
        ("a.toml", "a" + ".a" * 100 + " = 1", "32 parts"),
        ("a.py", "def f(:\n", "not Python"),
        ("a.log", "loss 3.2\n", "no dump"),
        ("a.csv", "a,b\n", "not a run file"),
    ],
)
def test_bad_files_are_one_clear_line(write: Write, name: str, text: str, message: str) -> None:
    with pytest.raises(RooflineError, match=message) as caught:
        load_documents(write(name, text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a: 1\n" * 400_000)
    with pytest.raises(RooflineError, match="more than 1 MiB"):
        load_documents(path)


def test_a_device_is_no_file(tmp_path: Path) -> None:
    link = tmp_path / "zero.yaml"
    link.symlink_to("/dev/zero")
    with pytest.raises(RooflineError, match="not an ordinary file"):
        load_documents(link)


def test_a_template_of_json_has_variables(write: Write) -> None:
    found = values(write("ds.json", '{"train_batch_size": GBSIZE, "fp16": {"enabled": true}}'))
    assert found == {"train_batch_size": "${GBSIZE}", "fp16": {"enabled": True}}


def test_a_dump_of_arguments(write: Write) -> None:
    text = "using world size: 8\n  micro_batch_size ................................ 4\n  recompute ........ None\n"
    assert values(write("run.log", text)) == {"micro_batch_size": 4, "recompute": None}


def test_python_settings_are_read_and_nothing_runs(write: Write, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"""
    import os
    os.system("touch {mark}")
    batch_size = 12
    block_size = 1024
    gradient_accumulation_steps = 5 * 8
    out = f"{{batch_size}}"
    """
    found = values(write("train.py", text))
    assert (found["batch_size"], found["gradient_accumulation_steps"]) == (12, 40)
    assert not mark.exists()


def test_a_launch_script_is_read_as_words(write: Write, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = rf"""
    #!/bin/bash
    #SBATCH --nodes=4
    GPUS=8
    NODES=${{NNODES:-2}}
    WORLD=$(($GPUS*$NODES))
    HOST=$(touch {mark}; hostname)
    rm -rf `echo {mark}`
    MODEL_ARGS=(
        --num-layers 24  # of them
        --seq-length 2048
    )
    if [ "$GPUS" -gt 4 ]; then MODEL_ARGS+=(--sequence-parallel); else MODEL_ARGS+=(--bogus); fi
    TRAIN="--micro-batch-size 2 --fp8-format hybrid"
    torchrun --nproc_per_node $GPUS --nnodes $NODES pretrain_gpt.py ${{MODEL_ARGS[@]}} $TRAIN \
        --global-batch-size $((WORLD * 4)) --data-path $1 --host $HOST --rope
    """
    found = values(write("run.sh", text))
    assert found["num_layers"] == 24 and found["seq_length"] == 2048
    assert found["sequence_parallel"] is True and "bogus" not in found
    assert (found["nproc_per_node"], found["nnodes"], found["global_batch_size"]) == (8, 2, 64)  # 8 * 2 * 4
    assert found["fp8_format"] == "hybrid" and found["rope"] is True
    assert found["sbatch_nodes"] == 4
    assert found["data_path"] == Unresolved(text="$1", name="1")
    assert isinstance(found["host"], Unresolved)
    assert not mark.exists()


def test_the_case_of_a_script_is_said(write: Write) -> None:
    text = """
    SIZE="8B"
    case $SIZE in
        "1B") LAYERS=16 ;;
        8B) LAYERS=32 ;;
        *) exit 1 ;;
    esac
    python train.py --num-layers $LAYERS --tp 1 --pp 1
    """
    document = load_documents(write("run.sh", text))[0]
    assert document.values["num_layers"] == 32
    assert document.notes == ["$SIZE is 8B: that case was taken"]


def test_several_jobs_in_a_script_are_said(write: Write) -> None:
    text = "torchrun a_train.py --x 1 --y 2 --z 3\ntorchrun b_sft.py --x 5 --y 6 --z 7\n"
    document = load_documents(write("run.sh", text))[0]
    assert document.values["x"] == 1
    assert "2 commands train" in document.notes[0]


def test_a_here_document_of_json_is_a_document_of_its_own(write: Write) -> None:
    text = """
    STAGE=2
    cat <<EOT > ds.json
    {"zero_optimization": {"stage": $STAGE}, "train_batch_size": $GBS}
    EOT
    deepspeed train.py --a 1 --b 2 --c 3
    """
    script, inner = load_documents(write("run.sh", text))
    assert script.values["a"] == 1
    assert inner.values == {"zero_optimization": {"stage": 2}, "train_batch_size": "${GBS}"}
