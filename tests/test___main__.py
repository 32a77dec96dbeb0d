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
