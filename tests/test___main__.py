"""``python -m roofline``: exit statuses, interrupts and a damaged installation."""

import subprocess
import sys

import pytest

from roofline.__main__ import interrupt


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_an_interrupt_between_imports_is_the_usual_exception():
    with pytest.raises(KeyboardInterrupt):
        interrupt(2, sys._getframe())


def test_a_damaged_installation_is_one_line():
    done = python(
        "import sys; sys.modules['roofline.cli'] = None; sys.argv = ['roofline', '--version']\n"
        "from roofline.__main__ import run; run()"
    )
    assert done.returncode == 2
    assert done.stderr.startswith("roofline: error: the installation is damaged: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("numpy.py", ["layouts", "gpt2", "-d", "a100-sxm-80gb", "--num-devices", "8"]),
        ("json.py", ["count", "gpt2", "--format", "json"]),
        ("argparse.py", ["--version"]),  # missed before the command line has begun
        ("msgspec/__init__.py", ["models"]),
    ],
)
def test_a_file_that_hides_a_package_is_named(name, command, tmp_path):
    hiding = tmp_path / name
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "roofline", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    package = name.split("/")[0].removesuffix(".py")
    place = tmp_path / name.split("/")[0]
    assert done.stderr == (
        f"roofline: error: {place} takes the place of the package {package}: "
        "rename it, or call roofline in another folder\n"
    )
    assert done.returncode == 2


def test_the_entry_imports_nothing_that_takes_long():
    done = python(
        "import re, sys; before = set(sys.modules); import roofline.__main__; print(*set(sys.modules) - before)"
    )
    assert set(done.stdout.split()) <= {"roofline", "roofline.__main__", "gc", "_signal", "signal"}


def test_the_status_of_the_command_is_that_of_the_process():
    done = python("import sys; sys.argv = ['roofline', 'nothing']; from roofline.__main__ import run; run()")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("roofline: error: ")


@pytest.mark.parametrize(("word", "threads"), [("layouts", "1"), ("calibrate", "None")])
def test_only_what_multiplies_matrices_starts_threads_for_it(word, threads):
    done = python(
        f"import os, sys; os.environ.pop('OPENBLAS_NUM_THREADS', None); sys.argv = ['roofline', '{word}', '--help']\n"
        "import atexit; atexit.register(lambda: print(os.environ.get('OPENBLAS_NUM_THREADS')))\n"
        "from roofline.__main__ import run; run()"
    )
    assert done.stdout.splitlines()[-1] == threads


def test_threads_that_the_user_asks_for_are_kept():
    done = python(
        "import os, sys; os.environ['OPENBLAS_NUM_THREADS'] = '3'; sys.argv = ['roofline', '--version']\n"
        "import atexit; atexit.register(lambda: print(os.environ['OPENBLAS_NUM_THREADS']))\n"
        "from roofline.__main__ import run; run()"
    )
    assert done.stdout.splitlines()[-1] == "3"
