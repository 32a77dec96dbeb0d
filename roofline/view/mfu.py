"""A measured run against what is expected, as people read it and as programs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import units
from ..answers.diagnosis import verdict_words
from ..config.words import layout_words
from ..counting.mfu import RULES, rule_in_words
from ..timing.terms import words_of
from . import cells
from .changes import changes_table, faster_title, with_kept
from .estimate import VISIBLE, waterfall_bar
from .html.pieces import answer, table
from .table import Cell, Table
from .words import batch_words, device_notes, device_words, method_words, model_words, sentence, sentences, unit_words

if TYPE_CHECKING:
    from ..answers.diagnosis import Diagnosis


LISTED = 6  # suspects shown


def data(result: Diagnosis) -> dict[str, Any]:
    """The JSON object."""
    fields = [name for name in result.__struct_fields__ if name not in {"estimate", "notes"}]
    derived = ("explanation", "mfu_rule", "expected_step_time_s", "num_devices", "waterfall")
    return {name: getattr(result, name) for name in (*fields, *derived)}


def tables(result: Diagnosis) -> list[Table]:
    """The answer; mistakes in the input; the rules; suspects, or what would help."""
    expected, train = result.estimate, result.estimate.train
    expected_step = units.format_time(float(expected.step_time_s))
    rows = [
        ["MFU", f"{units.format_share(result.mfu)}, {verdict_words(result)}"],
        ["HFU", f"{units.format_share(result.hfu)} (all FLOPs executed, recompute and all)"],
        ["Step", f"{units.format_time(result.step_time_s)}: {result.tokens_per_s:,.0f} {unit_words(expected.model)}/s"],
        ["Expected", f"{expected_step}, MFU {units.format_share(result.expected_mfu)}"],
        ["Device", device_words(expected.device, train.dtype)],
        ["Layout", layout_words(train)],
        ["Batch", batch_words(train, expected.model, chosen=expected.run is not None and expected.run.chosen)],
        ["Method", f"{train.dtype}, {method_words(train)}"],
    ]
    shown = [Table(model_words(expected.model), ["", ""], rows, align="ll")]
    if result.findings:
        found = [[f"{number}.", finding.what] for number, finding in enumerate(result.findings, start=1)]
        shown.append(Table("Check these figures first", ["", ""], found, align="ll"))
    if expected.model.recorded is None:
        shown.append(rules_table(result))
    if result.suspects:
        suspects = result.suspects[:LISTED]
        shown.append(changes_table(with_kept("What would explain it, best first", expected.run), "Explains", suspects))
        measures = dict.fromkeys(one.measure for one in suspects if one.measure)
        rows_next = [[f"{number}.", each] for number, each in enumerate(measures, start=1)]
        shown.append(Table("What to measure next", ["", ""], rows_next, align="ll"))
    if result.improvements:
        title = faster_title(f"the expected step of {expected_step}", expected.run)
        shown.append(changes_table(title, "Saves", result.improvements))
    losses = sorted(expected.waterfall, key=lambda step: -float(step.lost))[:5]
    lost = [
        [
            words_of(step.term),
            cells.share(float(step.lost)),
            cells.seconds(float(step.seconds)),
        ]
        for step in losses
        if step.lost > VISIBLE
    ]
    shown.append(Table("What the expected step loses to", ["", "Of peak", "Per step"], lost))
    return shown


def records(result: Diagnosis) -> Table:
    """The figures as one row."""
    figures = {name: value for name, value in data(result).items() if isinstance(value, int | float | str)}
    return Table("", list(figures), [list(figures.values())])


def notes(result: Diagnosis) -> list[str]:
    """What was assumed, and how far the device's figures can be trusted."""
    found = sentences(result.notes)
    found += [sentence(note) for note in result.estimate.model.assumptions]
    return found + device_notes(result.estimate.device)


def pieces(result: Diagnosis) -> list[str]:
    """The verdict, where the expected step loses the peak, and the tables."""
    expected = result.estimate
    title = f"{model_words(expected.model)} on {expected.train.num_devices:,} x {expected.device.name}"
    good = result.verdict != "below"
    first = answer(title, f"MFU {units.format_share(result.mfu)}", verdict_words(result), good=good)
    return [first, waterfall_bar(expected), *(table(each) for each in tables(result))]


def rules_table(result: Diagnosis) -> Table:
    """The same run by every rule: first that of the answer, which with frozen weights is none of the usual ones."""
    own, _, counts = result.estimate.mfu_rule.partition(": ")
    model, seq_len = result.estimate.model, result.estimate.train.sample_length
    says = dict([(own, counts), *((rule, rule_in_words(model, seq_len, rule)) for rule in RULES)])
    by_rule = {own: result.mfu, **result.mfu_by_rule}
    rows = [[rule, Cell(by_rule[rule], units.format_share(by_rule[rule])), words] for rule, words in says.items()]
    title = "The same run by every rule, that of the MFU above first"
    return Table(title, ["Rule", "MFU", "Counts"], rows, align="lrl")
