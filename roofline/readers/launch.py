"""Which command of a launch script trains: its options, the files that it hands on, and on how many devices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .expansion import CLOSE, OPEN
from .shell import Script
from .values import Unresolved, normal_key, scalar

_SETTING = re.compile(
    r"[+~]{0,2}([A-Za-z_][\w.]*)=(?!=)"
)  # of Hydra, OmegaConf, MaxText: after the program, without dashes
_STARTS = {  # what follows a launcher where it trains
    "accelerate": r"launch",
    "axolotl": r"train",
    "composer": r"",
    "deepspeed": r"",
    "litgpt": r"pretrain|finetune",
    "llamafactory-cli": r"train",
    "torchrun": r"",
    "trl": r"sft|dpo|kto|grpo|reward",
    "tune": r"run",
}
_CONFIGURATION = re.compile(r"[^\s=]*\.(ya?ml|toml)|(?:[^\s=]*/)?config/\w+\.py")  # nanoGPT's are Python


def training_jobs(script: Script) -> list[list[str]]:
    """The commands that train, as words: those with three options, else those through a launcher that is known."""
    jobs = [words for words in _all_commands(script) if _setting_count(words) >= 3]
    return _those_that_train(jobs or [words for words in script.commands if _is_launch(words)])


def _is_launch(words: list[str]) -> bool:
    """Whether a command starts training through a launcher that is known."""
    if any(re.search(r"run_(pre)?train\.sh$", word) for word in words[:2]):  # Primus, torchtitan
        return True
    at = next((at for at, word in enumerate(words) if word in _STARTS), len(words))
    return at < len(words) and re.match(_STARTS[words[at]], " ".join(words[at + 1 :])) is not None


def named_by_variable(script: Script) -> list[str]:
    """The configuration that a variable hands on: ``EXP=run.yaml bash run_pretrain.sh`` (Primus), ``CONFIG_FILE``."""
    found = (script.variables.get(name) for name in ("EXP", "CONFIG_FILE"))
    return [value for value in found if isinstance(value, str) and _CONFIGURATION.fullmatch(value)]


def named_files(words: list[str]) -> list[str]:
    """The configurations a command hands on: ``axolotl train run.yml``, ``tune run RECIPE --config llama3/8B_full``.

    A launcher's own file stays with its option (accelerate's ``--config_file``).

    >>> named_files("accelerate launch --config_file a.yaml sft.py --config b.yaml out=c.txt".split())
    ['b.yaml']
    >>> named_files("tune run full_finetune_single_device --config llama3_1/8B_full".split())
    ['llama3_1/8B_full.yaml']
    """
    found = []
    for before, word in zip(["", *words], words, strict=False):
        text = word.partition("=")[2] if re.match(r"--?[\w.-]+=", word) else word
        if before in {"--config_file", "--deepspeed"} or word.startswith("--config_file="):
            continue
        if before == "--config" and "tune" in words and "." not in text:
            found.append(f"{text}.yaml")
        elif _CONFIGURATION.fullmatch(text):
            found.append(text)
    return found


def launched(values: Mapping[str, Any], variables: Mapping[str, Any]) -> int | None:
    """On how many devices a command runs, where its launcher or the variables before it say so.

    >>> launched({"nproc_per_node": 8, "nnodes": 2}, {}), launched({"num_processes": 4}, {}), launched({}, {})
    (16, 4, None)
    >>> launched({}, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}), launched({}, {"NNODES": 2, "NPROC_PER_NODE": 8})
    (4, 16)
    """

    def number(*names: str) -> int | None:
        for table in (values, variables):
            for name in names:
                value = table.get(name)
                value = value[0] if isinstance(value, list) and value else value  # --nproc_per_node 8 train.py
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
        return None

    processes = number("num_processes")
    if processes is not None:
        return processes
    each = number("nproc_per_node", "NPROC_PER_NODE", "NGPU", "num_gpus", "n_gpus")
    if each is not None:
        return each * (number("nnodes", "NNODES", "num_nodes", "num_machines") or 1)
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    if isinstance(visible, int) and not isinstance(visible, bool):
        return 1
    return len(visible.split(",")) if isinstance(visible, str) and re.fullmatch(r"\d+(,\d+)*", visible) else None


def _all_commands(script: Script) -> list[list[str]]:
    """The commands of a script, and those inside a text it hands on (``TRAINING_CMD="... python x.py ..."``)."""
    found = list(script.commands)
    for value in script.variables.values():
        if isinstance(value, str) and ".py" in value and value.count("--") >= 3:
            found += [line.split() for line in re.split(r"[;\n]", value) if ".py" in line]
    return found


def _setting_count(words: list[str]) -> int:
    """How many options a command has, and settings of the form ``batch_size=4``."""
    return sum(word.startswith("--") or _SETTING.match(word) is not None for word in words)


def program(words: list[str]) -> str:
    """The program a command starts, in a word."""
    scripts = [word for word in words if word.endswith(".py")]
    after = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "-m"]
    return Path((scripts or after or words[:1])[0]).name[:60]


def positional(words: list[str]) -> list[str]:
    """The words of a command before its first option: ``litgpt finetune_lora CHECKPOINT --data ...``."""
    first = next((at for at, word in enumerate(words) if word.startswith("-") or _SETTING.match(word)), len(words))
    return [word for word in words[:first] if OPEN not in word]


def same_program(script: Script) -> int:
    """How many different commands of a script train by one program, where only the fullest of them is read."""
    named = [words for words in _all_commands(script) if _setting_count(words) >= 3]
    starts = [words for words in _apart(named) if re.search(r"(pre)?train|finetune|sft|dpo", program(words))]
    return len(starts) if len({program(words) for words in starts}) == 1 else 0


def _apart(jobs: list[list[str]]) -> list[list[str]]:
    """The commands, the same one once."""
    return list({tuple(words): words for words in jobs}.values())


def _those_that_train(jobs: list[list[str]]) -> list[list[str]]:
    """The commands that train: not those that evaluate or convert; the same command once, the fullest first."""
    wanted = [words for words in jobs if not re.search(r"eval|convert|preprocess|export|infer", program(words))]
    unique = _apart(wanted)
    named = [words for words in unique if re.search(r"train|pretrain|finetune|sft|\.py", " ".join(words[:60]))]
    if len({program(words) for words in named}) == 1 or not named:
        return sorted(named or unique, key=_setting_count, reverse=True)[:1]
    return named


def arguments(words: list[str]) -> dict[str, Any]:
    """The options of a command as a table; a launcher's among them. An option without a value is True.

    A dotted name lies in tables, as in a file: ``--train.micro_batch_size 2``, ``train.micro_batch_size=2``.

    >>> arguments(["torchrun", "--nnodes", "2", "train.py", "--fp16", "--tp=4", "--modules", "a", "b", "--lr", "-1"])
    {'nnodes': 2, 'fp16': True, 'tp': 4, 'modules': ['a', 'b'], 'lr': -1}
    >>> arguments(["litgpt", "pretrain", "--train.micro_batch_size", "2", "model.n_layer=3", "seed=1"])
    {'train': {'micro_batch_size': 2}, 'model': {'n_layer': 3}, 'seed': 1}
    """
    words = [part for word in words for part in (word.split() if word.startswith("--") else [word])]
    values: dict[str, Any] = {}
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        setting = _SETTING.match(word)
        if setting is None and not re.match(r"--?[A-Za-z]", word):
            continue
        name, equals, value = word.partition("=")
        taken: list[str] = [value] if equals else []
        while not equals and at < len(words) and not re.match(r"--|-[A-Za-z]", words[at]):
            if words[at].endswith(".py") or words[at] in {"python", "python3", "train"} or _SETTING.match(words[at]):
                break
            taken.append(words[at])
            at += 1
        read = [worded(each) for each in taken]
        _put(values, normal_key(name.lstrip("+~")), True if not read else read[0] if len(read) == 1 else read)
    return values


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Keep a value at its place: a dotted name lies in tables."""
    *sections, last = name.split(".")
    table = values
    for section in sections:
        inner = table.get(section)
        table[section] = table = inner if isinstance(inner, dict) else {}
    table[last] = value


def worded(text: str) -> Any:
    """A word of a script: a number, a flag or text; unresolved where it holds a variable without a value."""
    if OPEN in text:
        name = text[text.index(OPEN) + 1 : text.index(CLOSE)] if CLOSE in text else text[text.index(OPEN) + 1 :]
        shown = text.replace(f"{OPEN}$(", "$(").replace(OPEN, "$").replace(CLOSE, "")
        return Unresolved(text=shown[:80], name=name[:60])
    return scalar(text)
