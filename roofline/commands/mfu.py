"""``roofline mfu``: the MFU of a run you measured, whether that is good, and what costs most."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..view.table import Cell, Table, add_format_arguments, emit
from . import options

if TYPE_CHECKING:
    from ..answers.diagnosis import Diagnosis

SUMMARY = "the MFU of a run you measured, whether that is good, and what costs most"
EXAMPLES = (
    "roofline mfu gpt2-xl -d a100-sxm-80gb --step-time 13.78 --micro-batch 4 --global-batch 256",
    "roofline mfu llama-2-7b -d h100-sxm-80gb --num-devices 8 --sharding fsdp --tokens-per-s 60k",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    options.add_device_arguments(parser)
    run_ = parser.add_argument_group("what was measured (step time, tokens per second, or both)")
    run_.add_argument(
        "--step-time-s",
        "--step-time",
        metavar="T",
        type=units.step_time_s,
        help="time of one optimizer step, accumulation included: 13.78, or 340ms",
    )
    run_.add_argument(
        "--tokens-per-s",
        metavar="N",
        type=units.positive,
        help="tokens per second of all devices together: 24000, or 24k",
    )
    run_.add_argument(
        "--reported-mfu",
        metavar="X",
        type=units.share,
        help="the MFU the framework printed, such as 25%%: how is it counted?",
    )
    options.add_training_arguments(parser)
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the diagnosis."""
    from ..answers.diagnosis import diagnose
    from ..view import estimate

    model, device = options.model(args), options.device(args)
    result = diagnose(
        model,
        device,
        step_time_s=args.step_time_s,
        tokens_per_s=args.tokens_per_s,
        reported_mfu=args.reported_mfu,
        **options.train_options(args, one_layout=True),
    )
    notes = [f"{note[0].upper()}{note[1:]}." for note in result.notes]
    notes += [f"Note: {note}." for note in model.assumptions] + estimate.device_notes(device)
    data = json_of(result)
    if args.format == "csv":
        figures = {name: value for name, value in data.items() if isinstance(value, int | float | str)}
        emit(args, data, [Table("", list(figures), [list(figures.values())])])
        return 0
    emit(args, data, tables_of(result), notes)
    return 0


def json_of(result: Diagnosis) -> dict[str, Any]:
    """The JSON object."""
    from ..answers.diagnosis import verdict_words

    found = {name: getattr(result, name) for name in result.__struct_fields__ if name not in {"estimate", "notes"}}
    found["explanation"] = verdict_words(result)
    found["mfu_rule"] = result.estimate.mfu_rule
    found["expected_step_time_s"] = result.estimate.step_time_s
    found["num_devices"] = result.estimate.train.num_devices
    found["waterfall"] = [msgspec.structs.asdict(step) for step in result.estimate.waterfall]
    return found


def tables_of(result: Diagnosis) -> list[Table]:
    """The answer; mistakes in the input; the rules; suspects, or what would help."""
    from ..answers.diagnosis import verdict_words
    from ..config.words import layout_words
    from ..timing.terms import TERM_WORDS
    from ..view import cells, changes, estimate

    expected, train = result.estimate, result.estimate.train
    expected_step = units.format_time(float(expected.step_time_s))
    rows = [
        ["MFU", f"{units.format_share(result.mfu)}, {verdict_words(result)}"],
        ["HFU", f"{units.format_share(result.hfu)} (all FLOPs executed, recompute and all)"],
        ["Step", f"{units.format_time(result.step_time_s)}: {result.tokens_per_s:,.0f} tokens/s"],
        ["Expected", f"{expected_step}, MFU {units.format_share(result.expected_mfu)}"],
        ["Device", estimate.device_words(expected.device, train.dtype)],
        ["Layout", layout_words(train)],
        ["Batch", estimate.batch_words(train, expected.model)],
        ["Method", f"{train.dtype}, {estimate.method_words(train)}"],
    ]
    tables = [Table(estimate.model_words(expected.model), ["", ""], rows, align="ll")]
    if result.findings:
        found = [[f"{number}.", finding.what] for number, finding in enumerate(result.findings, start=1)]
        tables.append(Table("Check these figures first", ["", ""], found, align="ll"))
    tables.append(rules_table(result))
    if result.suspects:
        tables.append(changes.changes_table("What would explain it, best first", "Explains", result.suspects))
    if result.improvements:
        title = f"What would make the expected step of {expected_step} faster, and fits"
        tables.append(changes.changes_table(title, "Saves", result.improvements))
    losses = sorted(expected.waterfall, key=lambda step: -float(step.lost))[:5]
    lost = [
        [
            TERM_WORDS.get(step.term, step.term),
            cells.share(float(step.lost)),
            cells.seconds(float(step.seconds)),
        ]
        for step in losses
        if step.lost > estimate.VISIBLE
    ]
    tables.append(Table("What the expected step loses to", ["", "Of peak", "Per step"], lost))
    return tables


def rules_table(result: Diagnosis) -> Table:
    """The same run by every rule."""
    from ..counting.mfu import RULES

    by_rule = result.mfu_by_rule
    rows = [[rule, Cell(by_rule[rule], units.format_share(by_rule[rule])), words] for rule, words in RULES.items()]
    return Table("The same run by every rule", ["Rule", "MFU", "Counts"], rows, align="lrl")
