"""Build the wheel and the source distribution, and use them as people do: every way to install, and odd places.

    python scripts/maintain/check_packaging.py              all that needs no download but of setuptools
    python scripts/maintain/check_packaging.py --tests      and the whole suite of the source distribution, on the wheel
    python scripts/maintain/check_packaging.py --lowest     and the suite on the lowest dependencies of pyproject.toml
    python scripts/maintain/check_packaging.py --python python3.13 [--python ...]    and the suite on other interpreters
    python scripts/maintain/check_packaging.py --ci         and what CI runs: README's second command in a fresh clone

Environments borrow the packages of this interpreter (the `dev` extra), so that each takes seconds; those of `--lowest`,
`--python` and `--ci` install their own. Prints a line for each check; exit status 1 if any failed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from environments import COMMANDS, ESTIMATE, Failed, Venv, call, check, environment, failures

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = "raise RuntimeError('not ours')\n"
CONSUMER = """
import roofline
from roofline import Estimate, StepTimer

result: Estimate = roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8)
name: str = roofline.load_device("h100-sxm-80gb").name
ids: tuple[str, ...] = roofline.device_ids()
version: str = roofline.__version__
memory = roofline.memory("gpt2", "h100-sxm-80gb")
"""
MISUSED = """
import roofline

roofline.estimat("gpt2")
number: int = roofline.load_device("h100-sxm-80gb").name
"""


def build(folder: Path, source: Path = ROOT, *, wheel_only: bool = False) -> None:
    """Source distribution, and from it the wheel, as of one time: that of the last commit, where git knows it."""
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
    )
    kind = ["--wheel"] if wheel_only else []
    command = [sys.executable, "-m", "build", *kind, "--outdir", folder, source]
    call(command, env=environment(SOURCE_DATE_EPOCH=asked.stdout.strip() or "1700000000"))


def contents(wheel: Path) -> str:
    """One top-level name, with the facts inside it."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if top != {"roofline"}:
        raise Failed(f"top-level names {sorted(top)}")
    wanted = [
        "__init__.pyi",
        "py.typed",
        "hardware/facts/devices/h100-sxm-80gb.toml",
        "validation/data/published_runs.csv",
    ]
    missing = [name for name in wanted if f"roofline/{name}" not in names]
    if missing:
        raise Failed(f"not in the wheel: {missing}")
    return f"{len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB"


def reproducible(first: Path, source: Path, scratch: Path) -> str:
    """The same bytes from a second build; from clean sources: setuptools packs what an old ``build`` has left."""
    shutil.copytree(source, scratch / "clean")
    build(scratch / "again", scratch / "clean", wheel_only=True)
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, scratch / "again" / first.name)}
    if len(digests) > 1:
        raise Failed("two builds of one commit differ")
    return next(iter(digests))[:16]


def beside_foreign(wheel: Path, scratch: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The index's distribution `hardware`, where it can be had, else one made here: before, after, uninstalled."""
    foreign = scratch / "foreign"
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":none:",
        "-d",
        foreign,
        "hardware",
    ]
    done = subprocess.run([str(word) for word in download], capture_output=True, check=False, env=environment())
    found = [*foreign.glob("hardware-*")] if done.returncode == 0 else []
    if not found:
        source = scratch / "hardware-source"
        (source / "hardware").mkdir(parents=True)
        (source / "hardware" / "__init__.py").write_text(FOREIGN)
        (source / "pyproject.toml").write_text('[project]\nname = "hardware"\nversion = "0"\n')
        build(foreign, source, wheel_only=True)
        found = [*foreign.glob("hardware-*.whl")]
    named = f"{found[0].name}{'' if done.returncode == 0 else ' (made here)'}"

    def before() -> None:
        venv = Venv(scratch / "before")
        venv.pip("install", "--no-deps", found[0])
        venv.pip("install", "--no-deps", wheel)
        venv.all_commands()
        venv.pip("uninstall", "--yes", "hardware")
        venv.all_commands()

    def after() -> None:
        venv = Venv(scratch / "after")
        venv.pip("install", "--no-deps", wheel)
        venv.pip("install", "--no-deps", found[0])
        venv.all_commands()
        venv.pip("uninstall", "--yes", "roofline")
        left = [path for path in venv.site.rglob("*") if "roofline" in path.name]
        if left:
            raise Failed(f"left behind: {left[:3]}")

    yield f"with {named} installed before, then uninstalled", before
    yield f"with {named} installed after; ours uninstalled leaves nothing", after


def own_hardware(venv: Venv, scratch: Path) -> None:
    """A user's own `hardware.py` next to their script."""
    folder = scratch / "own"
    folder.mkdir()
    (folder / "hardware.py").write_text("MINE = True\n")
    (folder / "script.py").write_text(
        "import hardware, roofline\nassert hardware.MINE\nprint(len(roofline.device_ids()))\n"
    )
    call([venv.python, "script.py"], cwd=folder, env=environment())
    venv.roofline(*ESTIMATE, cwd=folder)


def zipped(wheel: Path, venv: Venv) -> None:
    """The wheel itself on the path, as zip applications do."""
    venv.all_commands(env=environment(PYTHONPATH=str(wheel)))


def editable(mode: str, source: Path, scratch: Path) -> None:
    """An editable installation of a copy of the source."""
    venv = Venv(scratch / f"editable-{mode}")
    copy = scratch / f"source-{mode}"
    shutil.copytree(source, copy)
    venv.pip("install", "--no-deps", "--config-settings", f"editable_mode={mode}", "--editable", copy)
    venv.all_commands()
    device = copy / "hardware" / "devices" / "h100-sxm-80gb.toml"  # edited in place: strict mode links files one by one
    device.write_text(device.read_text().replace('name = "', 'name = "Of this copy: ', 1))
    if "Of this copy" not in venv.roofline("devices", "h100-sxm-80gb"):
        raise Failed("the facts are not those of the copy")


def typed(venv: Venv, scratch: Path) -> str:
    """What mypy tells somebody who uses the wheel."""
    (scratch / "consumer.py").write_text(CONSUMER)
    (scratch / "misused.py").write_text(MISUSED)
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        venv.python,
        "--cache-dir",
        scratch / "mypy",
    ]
    call([*mypy, "consumer.py"], cwd=scratch, env=environment())
    wrong = call([*mypy, "misused.py"], status=1, cwd=scratch, env=environment())
    for words in ('Module has no attribute "estimat"', "Incompatible types in assignment"):
        if words not in wrong:
            raise Failed(f"mypy does not say {words!r}:\n{wrong}")
    return "right uses pass, a misspelt name and a wrong type are found"


def places(venv: Venv) -> Iterator[tuple[str, Callable[[], None]]]:
    """Interpreter options, locales and places that an installation meets."""
    yield "python -O", lambda: venv.all_commands(python=["-O"])
    yield "python -OO", lambda: venv.roofline(*ESTIMATE, python=["-OO"])
    yield "python -W error", lambda: venv.all_commands(python=["-W", "error"])
    yield "python -I -X dev", lambda: venv.roofline(*ESTIMATE, python=["-I", "-X", "dev", "-W", "error"])
    for name in ("C", "POSIX", "tr_TR.UTF-8", "C.UTF-8"):
        changes = {"LC_ALL": name, "LANG": name, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        yield f"locale {name}", lambda changes=changes: venv.all_commands(env=environment(**changes))
    nobody = {"HOME": None, "XDG_CONFIG_HOME": None, "USER": None, "MPLCONFIGDIR": None}
    yield "no HOME", lambda: venv.all_commands(env=environment(**nobody))
    yield "HOME that is not there", lambda: venv.all_commands(env=environment(HOME="/nonexistent"))

    def read_only() -> None:
        files = [venv.site, *venv.site.rglob("*")]
        for path in files:
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
        try:
            venv.all_commands(env=environment(PYTHONDONTWRITEBYTECODE="1"))
        finally:
            for path in files:
                path.chmod(path.stat().st_mode | stat.S_IWUSR)
        new = {*venv.site.rglob("*")} - {*files}  # root may write where nobody may
        if new:
            raise Failed(f"written: {sorted(new)[:3]}")

    yield "read-only site-packages", read_only

    def windows_paths() -> None:
        for path in (r"C:\models\config.json", r"C:\models\my.toml", r"..\gpt2\config.json"):
            venv.roofline("count", path, status=2)
            venv.roofline("estimate", "gpt2", "-d", path, status=2)

    yield "paths of Windows in arguments", windows_paths

    def without_numpy() -> None:
        code = "import sys; sys.modules['numpy'] = None; from roofline.cli import main; sys.exit(main())"
        with tempfile.TemporaryDirectory() as folder:
            call([venv.python, "-c", code, *ESTIMATE], env=environment(), cwd=folder)
            call(
                [venv.python, "-c", code, "plot", "gpt2", "--output", "x.png"], status=2, env=environment(), cwd=folder
            )

    yield "NumPy missing: what needs none runs, the rest is one line", without_numpy


def side_by_side(wheel: Path, venv: Venv, scratch: Path) -> None:
    """Two versions on one machine, each with its own facts."""
    for version in ("1.0", "2.0"):
        folder = scratch / f"version-{version}"
        zipfile.ZipFile(wheel).extractall(folder)  # noqa: S202 (our own)
        init = folder / "roofline" / "__init__.py"
        init.write_text(re.sub(r'__version__ = "[^"]*"', f'__version__ = "{version}"', init.read_text()))
        (folder / "roofline/hardware/facts/devices/t4.toml").rename(
            folder / f"roofline/hardware/facts/devices/t4-{version}.toml"
        )
    for version in ("1.0", "2.0"):
        env = environment(PYTHONPATH=str(scratch / f"version-{version}"))
        if venv.roofline("--version", env=env) != f"roofline {version}\n":
            raise Failed(f"version {version} is not the one that runs")
        code = "import roofline; print(*[d for d in roofline.device_ids() if d.startswith('t4-')])"
        if call([venv.python, "-c", code], env=env, cwd=scratch).strip() != f"t4-{version}":
            raise Failed("it reads the other's facts")


def damaged(venv: Venv, scratch: Path) -> None:
    """A packaged file that is empty, no text or gone: one line, exit 2."""
    command = [str(venv.python), "-m", "roofline", *ESTIMATE]
    for content in (b"", b"\xff\xfe", None):
        for name in ("hardware/facts/devices/h100-sxm-80gb.toml", "hardware/facts/architectures/hopper.toml",
                     "model/presets/gpt2-xl.toml", "config/stacks/compiled.toml", "timing/kernel.py"):  # fmt: skip
            if content == b"" and name.endswith(".py"):
                continue  # an empty module is a module
            path = venv.site / "roofline" / name
            kept = path.read_bytes()
            path.unlink() if content is None else path.write_bytes(content)
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, env=environment(), cwd=scratch
                )
            finally:
                path.write_bytes(kept)
            if done.returncode != 2 or done.stderr.count("\n") != 1 or done.stdout:
                raise Failed(f"{name} {content}: status {done.returncode}\n{done.stderr}{done.stdout[:300]}")


def suite(python: Path, source: Path, folder: Path) -> str:
    """The tests of the source distribution on what is installed: its own sources are taken away first."""
    shutil.copytree(source, folder)
    for name in ("roofline", "hardware", "roofline.egg-info"):
        shutil.rmtree(folder / name, ignore_errors=True)
    workers = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "auto")
    options = ["-p", "no:cacheprovider", "-o", "addopts=-q --import-mode=importlib"]  # no doctests: modules are gone
    command = [python, "-m", "pytest", "-n", workers, *options, "tests"]
    output = call(command, cwd=folder, env=environment())
    return output.strip().splitlines()[-1]


def lowest() -> list[str]:
    """The lowest version of each dependency that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [text.replace(">=", "==") for text in project["dependencies"]]


def own_environment(folder: Path, interpreter: str, wheel: Path, pins: Sequence[str]) -> Path:
    """An environment with its own packages."""
    call([interpreter, "-m", "venv", folder])
    python = folder / "bin" / "python"
    tests = ["pytest", "pytest-xdist", "pytest-randomly", "pytest-benchmark", "hypothesis", "scipy"]
    call([python, "-m", "pip", "install", "--quiet", wheel, *tests, *pins], env=environment())
    return python


def runtime_alone(folder: Path, wheel: Path) -> str:
    """What a user installs: the wheel with its own dependencies and nothing of ours for development."""
    call([sys.executable, "-m", "venv", folder])
    python = folder / "bin" / "python"
    call([python, "-m", "pip", "install", "--quiet", wheel], env=environment())
    for command in COMMANDS:
        call([python, "-m", "roofline", *command], env=environment(), cwd=folder)
    call([python, "-m", "roofline", "plot", *ESTIMATE[1:], "--output", "x.svg"], env=environment(), cwd=folder)
    packages = call([python, "-m", "pip", "list", "--format", "freeze"], env=environment()).splitlines()
    size = sum(path.stat().st_size for path in (folder / "lib").rglob("*") if path.is_file())
    return f"{len(packages)} packages, {size / 1e6:.0f} MB"


def fresh_clone(folder: Path) -> str:
    """What CI runs, of what is committed: an editable installation that no PYTHONPATH helps, and the whole suite."""
    call(["git", "clone", "--quiet", ROOT, folder])
    output = call([folder / ".ci" / "run"], env=environment(VIRTUAL_ENV=None))
    return output.strip().splitlines()[-1]


def main() -> int:
    """Run every check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", action="store_true", help="run the source distribution's suite on the wheel")
    parser.add_argument("--lowest", action="store_true", help="and on the lowest dependencies")
    parser.add_argument("--python", action="append", default=[], help="and on this interpreter")
    parser.add_argument("--ci", action="store_true", help="and what CI runs, in a fresh clone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        check("source distribution, and the wheel from it", lambda: build(scratch / "dist"))
        (wheel,), (sdist,) = (scratch / "dist").glob("*.whl"), (scratch / "dist").glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch / "sdist", filter="data")
        (source,) = (scratch / "sdist").iterdir()
        venv = Venv(scratch / "plain")
        venv.pip("install", "--no-deps", wheel)
        check("one top-level name, the facts inside", lambda: contents(wheel))
        check("the wheel is reproducible", lambda: reproducible(wheel, source, scratch))
        check("twine check", lambda: call([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist]))
        check("every kind of command from the wheel", venv.all_commands)
        check(
            "the console script",
            lambda: call([venv.folder / "bin" / "roofline", *ESTIMATE], env=environment()) and None,
        )
        for what, test in beside_foreign(wheel, scratch):
            check(what, test)
        check("a user's own hardware.py", lambda: own_hardware(venv, scratch))
        check("from a zip", lambda: zipped(wheel, venv))
        for mode in ("lenient", "strict", "compat"):
            check(f"editable, {mode}", lambda mode=mode: editable(mode, source, scratch))
        check("a bare checkout", lambda: Venv(scratch / "bare").all_commands(env=environment(PYTHONPATH=str(source))))
        check("mypy of a consumer", lambda: typed(venv, scratch))
        for what, test in places(venv):
            check(what, test)
        check("two versions side by side", lambda: side_by_side(wheel, venv, scratch))
        check("a damaged installation", lambda: damaged(venv, scratch))
        if args.tests:
            check("the runtime dependencies alone", lambda: runtime_alone(scratch / "runtime", wheel))
            check(
                "the suite of the source distribution on the wheel",
                lambda: suite(venv.python, source, scratch / "tests"),
            )
        own = [("the lowest dependencies", sys.executable, lowest())] if args.lowest else []
        own += [(interpreter, interpreter, []) for interpreter in args.python]
        for number, (what, interpreter, pins) in enumerate(own):
            place = scratch / f"own-{number}"

            def tested(interpreter: str = interpreter, pins: list[str] = pins, place: Path = place) -> str:
                return suite(own_environment(place, interpreter, wheel, pins), source, place / "tests")

            check(f"the suite on {what}", tested)
        if args.ci:
            check("what CI runs, in a fresh clone", lambda: fresh_clone(scratch / "clone"))
    print(f"\n{len(failures)} of the checks failed" if failures else "\nall checks passed")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
