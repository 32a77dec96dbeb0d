"""A launch script read as words: what it sets and starts, without running it."""

import pytest

from roofline.readers.shell import read_script


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("N=2\nrun --n $N\n", ["run", "--n", "2"]),
        ("A=(--x 1)\nA+=(--y 2)\nrun ${A[@]}\n", ["run", "--x", "1", "--y", "2"]),
        ("if [ -n $X ]; then A+=(--log); fi\nrun --flag ${A[@]}\n", ["run", "--flag"]),
        ("source args.sh\nrun ${A[@]}\n", ["run", "\0A\1"]),
        ("export N=2 M=3\nrun $N $M", ["run", "2", "3"]),
        ("N=2\nif [ $N -gt 1 ]; then M=4; else M=8; fi\nrun $M\n", ["run", "4"]),
        ("N=a\nif [[ $N == b ]]; then M=4; elif [ $N = a ]; then M=6; else M=8; fi\nrun $M\n", ["run", "6"]),
    ],
)
def test_the_last_command_with_what_the_script_sets(text: str, command: list[str]) -> None:
    assert read_script(text).commands[-1] == command


def test_here_documents_are_kept() -> None:
    assert read_script("cat <<EOF > ds.json\n{}\nEOF\n").documents == ["{}\n"]


def test_words_of_the_scheduler() -> None:
    assert "--nodes=4" in read_script("#!/bin/bash\n#SBATCH --nodes=4\nrun\n").headers


def test_a_condition_that_only_a_run_could_decide_is_said() -> None:
    found = read_script("if [ $1 -gt 1 ]; then M=4; fi\nrun $M\n")
    assert "M" not in found.variables
    assert found.taken
