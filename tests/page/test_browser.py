"""Pages in a real headless browser; skipped where there is none."""

import json
import re
from itertools import pairwise

import pytest

from roofline import cli

CASES = {
    "one": "gpt2-xl",
    "dense": "llama-3-70b --num-devices 512 --tp 8 --pp 4 --global-batch 1024",
    "experts": "mixtral-8x7b --num-devices 64 --tp 2 --pp 4 --ep 8 --global-batch 256",
}


@pytest.fixture(scope="module", params=CASES)
def report(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    assert cli.main(["report", *CASES[request.param].split(), "-d", "h100-sxm-80gb", "-o", str(path)]) == 0
    return path


def figures(browser):
    return browser.run("[...document.querySelectorAll('[data-figure]')].map(each => each.textContent)")


def move(browser, name, value):
    browser.run(
        f"(() => {{ const it = document.getElementById('{name}'); it.value = {value};"
        "it.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_it_says_nothing_in_the_console_and_asks_for_nothing(browser, report):
    browser.open(report)
    assert browser.said() == []
    assert browser.asked_for() == [report.as_uri()]


@pytest.mark.parametrize("width", [360, 800, 1200])
def test_nothing_is_wider_than_the_window(browser, report, width):
    browser.open(report, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_sliders_move_the_figures(browser, report):
    browser.open(report)
    before = figures(browser)
    data = json.loads(browser.run("document.getElementById('explored').textContent"))
    assert all(before)
    assert before[0] in browser.run("document.querySelector('header').textContent")  # begins with the estimate
    longest = len(data["axes"][1]["values"]) - 1
    move(browser, "seq_len", 0 if browser.run("document.getElementById('seq_len').value") == str(longest) else longest)
    after = figures(browser)
    assert after[0] != before[0]
    assert after[4] != before[4]
    browser.run("document.querySelector('.knobs button').click()")
    browser.run("new Promise(done => setTimeout(done, 20))")
    assert figures(browser) == before


def test_what_is_not_possible_says_why(browser, report):
    browser.open(report)
    data = json.loads(browser.run("document.getElementById('explored').textContent"))
    place = next((place for place, case in enumerate(data["cases"]) if isinstance(case, int)), None)
    if place is None:
        assert report.stem == "one"  # every combination is possible
        return
    for axis in reversed(data["axes"]):
        place, value = divmod(place, len(axis["values"]))
        move(browser, axis["id"], value)
    assert browser.run("document.querySelector('.refused').textContent").startswith("Not possible: ")


def test_keys_reach_sliders_and_ops(browser, report):
    browser.open(report)
    browser.press("Tab")
    focused = "document.activeElement"
    assert browser.run(f"{focused}.classList.contains('op')")
    first = browser.run(f"{focused}.getAttribute('aria-label')")
    assert browser.run("document.querySelector('.tip').hidden") is False
    assert browser.run("document.querySelector('.tip strong').textContent") == first.split(": ")[0]
    browser.press("ArrowRight")
    assert browser.run(f"{focused}.getAttribute('aria-label')") != first
    browser.press("Escape")
    assert browser.run("document.querySelector('.tip').hidden") is True
    browser.press("Tab")
    assert browser.run(f"{focused}.id") == "micro_batch"
    before = figures(browser)
    browser.press("ArrowRight")
    assert figures(browser) != before


def test_everything_has_a_name_for_a_screen_reader(browser, report):
    browser.open(report)
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    named = {"slider", "button", "image", "img", "table", "group"}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if not node["ignored"] and role in named - {"table"}:
            assert node.get("name", {}).get("value"), node
    levels = [
        next(each["value"]["value"] for each in node["properties"] if each["name"] == "level")
        for node in nodes
        if node.get("role", {}).get("value") == "heading"
    ]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def luminance(colour):
    parts = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(browser, report, dark):
    browser.open(report, dark=dark)
    colours = browser.run(
        "[getComputedStyle(document.body).backgroundColor, ...['h1', '.big', '.soft', 'dt', 'th', '.tick']"
        ".map(each => document.querySelector('main ' + each)).map(it => it.closest('svg') ? getComputedStyle(it).fill"
        " : getComputedStyle(it).color)]"
    )
    paper = luminance(colours[0])
    assert (paper < 0.1) == dark
    for colour in colours[1:]:
        light, deep = sorted((paper, luminance(colour)), reverse=True)
        assert (light + 0.05) / (deep + 0.05) >= 4.5, colour  # WCAG 2.2, level AA


def test_it_prints_on_one_page(browser, report):
    browser.open(report)
    assert len(re.findall(rb"/Type\s*/Page[^s]", browser.printed())) == 1


def test_no_script_but_ours_runs(browser, tmp_path, hostile):
    path = tmp_path / "report.html"
    assert cli.main(["report", str(hostile), "-d", "h100-sxm-80gb", "-o", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<footer", "<img src=https://example.com/x onerror=window.hit=1><footer"))
    browser.open(path)
    assert browser.run("window.hit") is None  # the policy: even what slipped in would not run, nor load
    assert browser.asked_for() == [path.as_uri()]
