"""README.md and docs/*.md cannot go stale: every example runs, and prints exactly what is shown below it."""

import doctest
import re
import sys
from pathlib import Path

import pytest

from .maintain import script

ROOT = Path(__file__).resolve().parent.parent
update_readme = script("update_readme")

PAGES = update_readme.pages()
EXAMPLES = [
    pytest.param(command, shown, id=f"{page.name}: {command}")
    for page in PAGES
    for command, shown in update_readme.examples(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("command", "shown"), EXAMPLES)
def test_command_prints_what_is_shown(command, shown):
    assert update_readme.run(command) == shown, "run scripts/maintain/update_readme.py if the change is meant"


@pytest.mark.parametrize("name", sorted({*update_readme.PICTURES} - {"validation"}))
def test_pictures_show_what_is_drawn_now(name):
    kept = (update_readme.IMAGES / f"{name}.png").read_bytes()
    assert update_readme.drawn(name) == kept, "run scripts/maintain/update_readme.py if the change is meant"


def test_the_picture_of_published_runs_says_what_validate_prints():
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")  # its output is tested above
    rows, median, inside = re.search(r"^all +([\d,]+) +\S+ % +(\S+) % +\S+ % +(\S+) %", text, re.MULTILINE).groups()
    shown = update_readme.words(update_readme.IMAGES / "validation.png")
    assert f"{rows} runs, median error of the step time {median} %; {float(inside):.0f} % of the measurements" in shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples(page):
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for number, block in enumerate(blocks, start=1):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, f"{page.name}, example {number}", str(page), 0)
            failed = runner.run(test, out=sys.stdout.write, clear_globs=False).failed
            names = test.globs
        else:
            exec(compile(block, f"{page.name}, example {number}", "exec"), names)  # noqa: S102 (our own page)
            failed = 0
        assert not failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target


def test_headings_that_are_linked_to_are_there():
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    there = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#(.*?)\)", text)) == there  # every one of them, so that the contents are complete


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 125


def test_quickstart_is_two_commands_of_one_line():
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    first, second = blocks[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert "roofline estimate gpt2-xl --device h100-sxm-80gb" in first
    assert second.rstrip().endswith("pytest -n auto")
