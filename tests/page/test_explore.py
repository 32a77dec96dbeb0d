"""Sliders of a page, and the data behind them."""

import json
import re

import roofline
from roofline.answers.explore import explore
from roofline.page.explore import FIGURES, VERDICTS, sliders

RUN = roofline.settle("gpt2", "t4", micro_batch=4)
EXPLORED = explore(RUN)
TEXT = sliders(EXPLORED, RUN.train)
DATA = json.loads(re.search(r'id="explored">(.*?)</script>', TEXT)[1])


def test_a_row_for_each_combination_of_the_axes():
    combinations = 1
    for axis in DATA["axes"]:
        combinations *= len(axis["values"])
    assert len(DATA["cases"]) == combinations


def test_the_sliders_start_at_the_run():
    for axis in DATA["axes"]:
        value = int(re.search(rf'id="{axis["id"]}"[^>]* value="(\d+)"', TEXT)[1])
        assert axis["values"][value] == getattr(RUN.train, axis["id"])


def test_shares_of_a_case_are_those_of_its_estimate():
    texts, verdict, lost, parts = next(case for case in DATA["cases"] if not isinstance(case, int))
    assert len(texts) == len(FIGURES)
    assert texts[-1].endswith(VERDICTS[verdict])
    assert abs(sum(lost) - 1000) <= len(lost)  # thousandths of the peak: the MFU and what is lost
    assert len(parts) == len(DATA["parts"])


def test_no_text_ends_the_script():
    assert "<" not in re.search(r'id="explored">(.*?)</script>', TEXT)[1]
