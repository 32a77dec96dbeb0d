"""``roofline plot``: rooflines, waterfall, memory, MFU against batch or length, predictions and measurements."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import units
from ..config.options import several_of
from ..errors import RooflineError
from ..model.load import load_model
from . import measures, options
from .ladder import add_law_arguments
from .training import add_training_arguments

if TYPE_CHECKING:
    from typing import TypeAlias

    from ..hardware import Device
    from ..model.spec import ModelConfig
    from ..plot import Picture

    Model: TypeAlias = ModelConfig | str  # as `options.model` gives it

EXAMPLES = (
    "roofline plot gpt2-xl -d h100-sxm-80gb -d a100-sxm-80gb --micro-batch 8",
    "roofline plot -d h100-sxm-80gb -d mi300x -d tpu-v5e --output devices.svg",
    "roofline plot gpt2-xl -d a100-sxm-80gb --kind batch --output batch.pdf --data batch.csv",
    "roofline plot llama-3-8b -d h200-sxm-141gb --kind batch --over seq-len --num-devices 8 --sharding fsdp",
    "roofline plot llama-2-70b -d a100-sxm-80gb --kind layouts --num-devices 64 --global-batch 512",
    "roofline plot -d h100-sxm-80gb --kind ladder --num-devices 1024 --deadline 30d",
    "roofline plot --kind validate --by source",
)
KINDS = {
    "roofline": "devices, and the ops of MODEL on them",
    "waterfall": "from the dense peak down to the MFU, cause by cause",
    "memory": "parts against capacity, by micro batch or by device; of one micro batch, over the moments of a step",
    "batch": "MFU and memory against micro batch, or with step time against sequence length (--over)",
    "layouts": "step time against memory of the layouts that no other beats in both",
    "ladder": "without MODEL: sizes that a scaling law finds best for --flops, --deadline or --budget",
    "timeline": "the passes of a step over time, on each stage of a pipeline",
    "validate": "predicted against measured runs",
}
OVER = ("micro-batch", "seq-len")
DPI_RANGE = 30, 2400  # beyond, a page of pixels is either unreadable or larger than memory


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser, nargs="?")
    kinds = "; ".join(f"{kind}: {words}" for kind, words in KINDS.items())
    add = parser.add_argument_group("picture").add_argument
    add("--kind", choices=KINDS, default="roofline", help=f"what to draw (default roofline). {kinds}")
    add("-o", "--output", metavar="FILE", help="a .png, .svg or .pdf (default KIND.png here)")
    add("--dpi", metavar="N", type=units.positive_int, default=200, help="dots per inch (default 200)")
    measures.add_arguments(add)
    add("--data", metavar="FILE", help="write what is drawn as CSV too")
    add("--runs", metavar="CSV", help="validate: runs of your own instead of the published ones")
    add("--over", choices=OVER, default="micro-batch", help="batch: what varies (default micro-batch)")
    add("--by", choices=("device", "source"), default="device", help="validate: what is told apart")
    add(
        "--phase",
        choices=("train", "prefill", "decode"),
        default="train",
        help="roofline: of training (default), or of one pass of inference as 'estimate --phase' has it",
    )
    options.add_device_arguments(parser, repeatable=True)
    add_law_arguments(parser.add_argument_group("what to train, as 'plan' has it (--kind ladder)"))
    add_training_arguments(parser, sweeps=True)


def run(args: argparse.Namespace) -> int:
    """Draw the picture and say where it is."""
    from .. import plot
    from ..plot.style import page
    from ..view.files import check_apart, check_writable
    from .output import write_text

    output = plot.check_output(f"{args.kind}.png" if args.output is None else args.output)
    if args.data is not None:
        check_writable(Path(args.data))
        check_apart(output, args.data)
    if not DPI_RANGE[0] <= args.dpi <= DPI_RANGE[1]:
        low, high = DPI_RANGE
        raise RooflineError(f"--dpi {args.dpi} is out of range: give {low} to {high} (print needs 300)")
    page(args.width, args.font_size)
    data = _data(args)
    plot.save(plot.draw(data, width=args.width, font_size=args.font_size), output, dpi=args.dpi)
    if args.data is not None:
        plot.save_data(data, args.data)
    write_text(f"wrote {output}{'' if args.data is None else f' and {args.data}'}\n")
    return 0


def _data(args: argparse.Namespace) -> Picture:
    """What to draw."""
    from .. import plot

    if args.kind == "validate":
        return _validation(args)
    if args.kind == "ladder":
        return _ladder(args)
    devices = options.devices(args)
    given = _train_options(args)
    if args.model is None:
        if args.kind != "roofline":
            raise RooflineError(f"--kind {args.kind} needs a MODEL, such as: roofline plot gpt2-xl --kind {args.kind}")
        return plot.roofline_data(devices, given.get("dtype"))
    model = options.model(args)
    if args.phase != "train":
        return _inference(args, model, devices, given)
    draw = {"batch": _sweep, "memory": _memory, "layouts": _front}.get(args.kind, _step)
    return draw(args, model, devices, given)


def _sweep(args: argparse.Namespace, model: Model, devices: list[Device], given: dict[str, Any]) -> Picture:
    from .. import plot

    values = given.pop(_varied(args), ())
    draw = plot.batch_data if args.over == "micro-batch" else plot.sequence_data
    return draw(load_model(model), devices, values, **given)


def _memory(_: argparse.Namespace, model: Model, devices: list[Device], given: dict[str, Any]) -> Picture:
    from .. import plot
    from ..answers.estimate import estimate

    if len(devices) > 1:
        return plot.memory_data([estimate(model, device, **given) for device in devices])
    batches = given.pop("micro_batch", ())
    if not isinstance(batches, tuple):
        return plot.phase_data(estimate(model, devices[0], **given, micro_batch=batches))
    return plot.memory_sweep(load_model(model), devices[0], batches, **given)


def _step(args: argparse.Namespace, model: Model, devices: list[Device], given: dict[str, Any]) -> Picture:
    from .. import plot
    from ..answers.estimate import estimate

    estimates = [estimate(model, device, **given) for device in devices]
    if args.kind == "timeline":
        if len(estimates) > 1:
            raise RooflineError("--kind timeline shows one device: name one")
        return plot.step_data(estimates[0])
    return plot.waterfall_data(estimates) if args.kind == "waterfall" else plot.roofline_data(estimates)


def _inference(args: argparse.Namespace, model: Model, devices: list[Device], given: dict[str, Any]) -> Picture:
    from .. import plot
    from ..answers.inference import infer

    if args.kind != "roofline":
        raise RooflineError(f"--phase {args.phase}: only a roofline shows inference; leave --kind {args.kind} out")
    return plot.roofline_data([infer(model, device, args.phase, **given) for device in devices])


def _front(_: argparse.Namespace, model: Model, devices: list[Device], given: dict[str, Any]) -> Picture:
    from .. import plot
    from ..search.answer import layouts

    if len(devices) > 1:
        raise RooflineError("--kind layouts shows one device: name one")
    return plot.front_data(layouts(model, devices[0], **given))


def _ladder(args: argparse.Namespace) -> Picture:
    from .. import plot
    from ..planning.cost import Terms
    from .ladder import ladder_of, prices

    if args.model is not None:
        raise RooflineError(f"--kind ladder says what to train, of what size: leave {args.model!r} out")
    return plot.ladder_data(ladder_of(args, Terms(price=prices(args, 1)[0])))


def _validation(args: argparse.Namespace) -> Picture:
    from .. import plot
    from ..validation.runs import validate_runs

    if args.model is not None:
        raise RooflineError(f"--kind validate draws published runs, not a MODEL: leave {args.model!r} out")
    predictions = validate_runs(args.runs)
    if args.device:
        chosen = {device.id for device in options.devices(args)}
        predictions = [p for p in predictions if p.row["device"] in chosen]
    return plot.validation_data(predictions, by=args.by)


def _varied(args: argparse.Namespace) -> str:
    """The training option that the picture may sweep."""
    if args.kind == "batch":
        return str(args.over).replace("-", "_")
    return "micro_batch" if args.kind == "memory" else ""


def _train_options(args: argparse.Namespace) -> dict[str, Any]:
    """The training options, of which only the one that is swept may have several values."""
    given = options.train_options(args)
    varied = _varied(args)
    for name, value in given.items():
        if several_of(name, value) and name != varied and args.kind != "layouts":
            flag, text = f"--{name.replace('_', '-')}", ",".join(map(str, value))
            raise RooflineError(f"{flag} {text}: a {args.kind} picture shows one value; give one")
    if args.over != "micro-batch" and args.kind != "batch":
        raise RooflineError(f"--over {args.over}: only a batch picture sweeps it; add --kind batch")
    if args.kind == "batch" and isinstance(given.get(varied), int):
        example = "1,2,4,8" if varied == "micro_batch" else "1k:32k"
        raise RooflineError(
            f"--{args.over} {given[varied]}: a batch picture sweeps it; give a list such as {example} or none"
        )
    batches = given.get("micro_batch")
    if args.kind == "memory" and isinstance(batches, tuple) and len(options.devices(args)) > 1:
        raise RooflineError("--kind memory shows several devices or several micro batches: give one of either")
    return given
