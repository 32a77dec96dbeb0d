"""What a shell offers after the script of `roofline completion`."""

import shutil
import subprocess

import pytest

from roofline import model_ids
from roofline.commands.completion import SHELLS, options_of
from roofline.commands.parser import COMMANDS
from roofline.config.run import DTYPES

ASK = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_roofline
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script():
    return SHELLS["bash"]({name: options_of(name) for name in COMMANDS})


def offered(script, *words):
    text = script.replace("complete -o", "# complete -o") + ASK
    done = subprocess.run(["bash", "-c", text, "bash", "roofline", *words], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["est"], ["estimate"]),
        (["estimate", "gpt2-x"], ["gpt2-xl"]),
        (["estimate", "gpt2", "--dtype", ""], [*DTYPES]),
        (["memory", "gpt2", "-d", "h100-sxm-8"], ["h100-sxm-80gb"]),
        (["memory", "gpt2", "-d", "p5.48"], ["p5.48xlarge"]),
        (["memory", "gpt2", "-d", "h100-sxm-80gb", "--recom"], ["--recompute"]),
        (["memory", "gpt2", "-d", "h100-sxm-80gb", "--stack", "--recom"], ["--recompute"]),
        (["layouts", "gpt2", "--objective", "ti"], ["time"]),
        (["count", "gpt2", "--micro-batch", ""], []),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["nosuch", ""], []),
    ],
)
def test_bash_offers(bash_script, words, answer):
    assert offered(bash_script, *words) == answer


def test_presets_and_options_of_every_command(bash_script):
    assert {*offered(bash_script, "count", "")} == {*model_ids()}
    for command in COMMANDS:
        names = {name for option in options_of(command) for name in option.names}
        assert {*offered(bash_script, command, "-")} == names


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_of_its_shell(printed, shell, tmp_path):
    out = printed("completion", shell)
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(out)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_fish_offers(printed, tmp_path):
    if shutil.which("fish") is None:
        pytest.skip("no fish here")
    (tmp_path / "x.fish").write_text(printed("completion", "fish"))
    ask = f"source {tmp_path}/x.fish; complete -C 'roofline estimate gpt2 --dtype bf'; complete -C 'roofline mem'"
    done = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, text=True, check=True)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["bf16", "memory"]
