"""Virtual environments to try an installation in, and a line for each thing tried: for check_packaging.py."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

ESTIMATE = ["estimate", "gpt2-xl", "--device", "h100-sxm-80gb"]
COMMANDS = (  # what reads each kind of packaged file, and the heavier packages
    ["--version"],
    ESTIMATE,
    [*ESTIMATE, "--micro-batch", "8", "--stack", "eager", "--format", "json"],
    ["memory", "gpt2-xl", "-d", "a100-sxm-80gb"],
    ["layouts", "llama-2-7b", "-d", "a100-sxm-80gb", "--num-devices", "8", "--top", "1"],
    ["devices", "mi300x"],
    ["models", "--types"],
    ["stacks"],
    ["validate", "budgets"],
    ["detect"],
)
failures: list[str] = []


class Failed(Exception):  # noqa: N818  (an outcome)
    """What a check found, in words."""


def check(what: str, test: Callable[[], str | None]) -> None:
    """Run one check and print how it went."""
    try:
        note = test()
    except Failed as failed:
        failures.append(what)
        print(f"FAILED  {what}\n{textwrap.indent(str(failed), '        ')}", flush=True)
    else:
        short = f": {note}" if note and len(note.splitlines()) == 1 else ""
        print(f"ok      {what}{short}", flush=True)


def call(command: Sequence[str | Path], status: int = 0, **options: object) -> str:
    """Standard output of a command that must end with `status`."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != status:
        output = (done.stdout + done.stderr).strip().splitlines()
        raise Failed("\n".join([f"$ {' '.join(map(str, command))}: status {done.returncode}", *output[-12:]]))
    return done.stdout


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment without what points at the checkout."""
    merged = {**os.environ, "PYTHONPATH": None, "NO_COLOR": "1", **changes}
    return {key: value for key, value in merged.items() if value is not None}


class Venv:
    """A fresh virtual environment that borrows this interpreter's packages, the editable roofline excepted."""

    def __init__(self, folder: Path) -> None:
        """Make it without pip: that of this interpreter installs into it."""
        call([sys.executable, "-m", "venv", "--without-pip", folder])
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.site = Path(call([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
        # a folder named in a .pth file is searched, but its own .pth files (ours, editable) are not read
        (self.site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def pip(self, *arguments: str | Path) -> None:
        """Install or uninstall something here."""
        verb, *rest = arguments
        call([sys.executable, "-m", "pip", "--python", self.python, verb, "--quiet", *rest], env=environment())

    def roofline(self, *arguments: str, python: Sequence[str] = (), **options: object) -> str:
        """Run the command line from an empty folder; what it prints."""
        options.setdefault("env", environment())
        with tempfile.TemporaryDirectory() as folder:
            options.setdefault("cwd", folder)
            return call([self.python, *python, "-m", "roofline", *arguments], **options)

    def all_commands(self, python: Sequence[str] = (), **options: object) -> None:
        """Run a command of each kind, and one picture."""
        for command in COMMANDS:
            self.roofline(*command, python=python, **options)
        with tempfile.TemporaryDirectory() as folder:
            self.roofline("plot", *ESTIMATE[1:], "--output", f"{folder}/x.png", python=python, **options)
