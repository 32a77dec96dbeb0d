"""What pyproject.toml packages is what there is: a file left out is missed only by those who install the wheel."""

import runpy
import tomllib
import zlib
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "roofline").is_dir(), reason="the installed package is tested")


def setuptools():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_package_is_named():
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("roofline/**/__init__.py")}
    assert {*setuptools()["packages"]} == found | {"roofline.hardware.facts"}


def test_what_is_built_of_the_facts_is_what_their_files_say():
    pytest.importorskip("setuptools")
    head, _, lines = runpy.run_path(str(ROOT / "setup.py"))["tables"](ROOT).partition(b"\n")
    places = msgspec.json.decode(head)
    built = {key: msgspec.json.decode(lines[start : start + length]) for key, (start, length) in places.items()}
    files = [path.read_bytes() for folder in ("roofline", "hardware") for path in (ROOT / folder).rglob("*.toml")]
    assert len(built) == len({*files}) > 600
    for content in files:  # in their order, and with 1 and 1.0 told apart
        assert repr(built[f"{zlib.crc32(content):08x}{len(content)}"]) == repr(tomllib.loads(content.decode()))


def test_every_fact_is_packaged():
    patterns = setuptools()["package-data"]["*"]
    folders = [ROOT / package.replace(".", "/") for package in setuptools()["packages"]] + [ROOT / "hardware"]
    packaged = {path for folder in folders for pattern in patterns for path in folder.glob(pattern)}
    there = {path for top in ("roofline", "hardware") for path in (ROOT / top).rglob("*") if path.is_file()}
    unneeded = ("*.py", "*.pyc", "*~", ".*", "tables.json*")  # the last is built
    assert {path for path in there - packaged if not any(fnmatch(path.name, each) for each in unneeded)} == set()
