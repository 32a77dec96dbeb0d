"""The one door for a configuration: what was said of a run, filled from the rest and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import divide, first_where, is_scalar, where
from ..errors import RooflineError
from ..model.spec import ModelConfig, default_seq_len
from .asserts import refuse
from .base import base_notes, of_checkpoint
from .checks import check_against, check_numbers, check_sharding, check_words
from .complete import complete, opened
from .defaults import FILL, assumed, defaults, doubles, usual_base
from .offload import check_host, check_offload
from .options import of_one_run
from .precision import check_precision
from .recipes import check_recipe, recipe_for
from .recompute import coarse, recompute_fields
from .run import TrainConfig
from .stack import load_stack
from .towers import tower_notes, usual_intake
from .words import layout_words

if TYPE_CHECKING:
    from ..hardware import Device


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One model trained in one way: complete and checked (see `settle.settle`).

    Attributes:
        model: The model.
        device: The device; None where none was named.
        options: What was said, as read.
        train: The whole configuration: nothing in it is left to be filled (see `complete`).
        assumed: What was not said, and follows from the layout or the device, as sentences.
        chosen: Whether the micro batch is none that was said, but the fastest that fits.
    """

    model: ModelConfig
    device: Any
    options: Mapping[str, Any]
    train: TrainConfig
    assumed: tuple[str, ...] = ()
    chosen: bool = False

    def __repr__(self) -> str:
        """Model, device, layout and batch in one line."""
        where = "" if self.device is None else f" on {self.device.id}"
        batch = f", micro batch {self.train.micro_batch}" if is_scalar(self.train.micro_batch) else ""
        many = not is_scalar(
            *(getattr(self.train, name) for name in ("num_devices", "tp", "pp", "cp", "dp", "vp", "ep"))
        )
        layout = "several layouts" if many else layout_words(self.train)
        return f"<Run of {self.model.name}{where}: {layout}{batch}, {self.train.stack}>"

    def alone(self, what: str) -> Run:
        """This run, which must be one: no array of them.

        Raises:
            RooflineError: Some option holds several values.
        """
        for name, value in self.options.items():
            if hasattr(value, "shape"):
                raise RooflineError(f"{name}: {what} has one value, not {value.size}: call once for each")
        return self

    def changed(self, **options: Any) -> Run:
        """The run that other options make: all defaults follow anew.

        Raises:
            RooflineError: As `settle.settle`.
        """
        before = {**self.options}
        if "dtype" in options:  # another dtype has another recipe
            before.pop("low_precision_recipe", None)
        changed = settle(self.model, self.device, {**before, **options})
        return msgspec.structs.replace(changed, chosen=self.chosen and "micro_batch" not in options)


def settle(model: ModelConfig, device: Device | None, options: Mapping[str, Any], *, serves: bool = False) -> Run:
    """One complete, checked run: what is said in `options`, the rest from the layout, the device and the model.

    Args:
        model: The model.
        device: The device; None: a GPU of no particular kind.
        options: Fields of `TrainConfig` as people type them; None is what is not said.
        serves: Whether the run is inference, on an engine that need not train.

    Raises:
        RooflineError: An unknown option, a value outside its list or range, or options that contradict.
    """
    given = _staged(of_one_run(options))
    if model.recorded is not None:
        from .recorded import as_recorded

        given = as_recorded(given, compiled=model.recorded.compiled)
    asked = given if serves else {**given, **of_checkpoint(model, given)}
    stated: dict[str, Any] = {name: asked[name] for name in ("base_dtype", "double_quant") if name in asked}
    asked = defaults(device, asked, serves=serves)
    check_recipe(asked["dtype"], asked.get("low_precision_recipe"))
    train = _sized(opened(_configured(asked), model), model)
    if serves:
        return Run(model=model, device=device, options=given, train=complete(train, model))
    if given.get("sequence_parallel") and is_scalar(train.tp) and train.tp == 1:
        raise RooflineError(
            "sequence_parallel shards norms and residuals over tp, and tp is 1: add --tp, or leave it out"
        )
    check_sharding(train)
    refuse(train, model)
    if device is not None:
        check_host(train, device)
    notes = (*assumed(train, device, {**given, **stated}), *tower_notes(train, model, given))
    notes += base_notes(model, train)
    return Run(model=model, device=device, options=given, train=complete(train, model), assumed=notes)


def with_recipe(train: TrainConfig) -> TrainConfig:
    """The configuration with the recipe of its dtype: the one it names where it is one, else what the stack runs."""
    recipe = recipe_for(train.dtype, load_stack(train.stack), train.low_precision_recipe)
    return msgspec.structs.replace(train, low_precision_recipe=recipe)


def train_config(options: Mapping[str, Any]) -> TrainConfig:
    """Build a TrainConfig from keyword options, naming an unknown one with its nearest.

    >>> train_config({"micro_batch": 4}).micro_batch
    4
    """
    return _configured(_staged(of_one_run(options)))


def _staged(given: dict[str, Any]) -> dict[str, Any]:
    """Options, with as many pipeline stages as their layout has where nobody says."""
    if given.get("pp_layout", "even") == "even" or "pp" in given:
        return given
    from .stage_layout import stage_layout

    chunks, vp = len(stage_layout(given["pp_layout"]).layers), given.get("vp", 1)
    return {**given, "pp": chunks // vp} if is_scalar(vp) and chunks % vp == 0 else given


def _configured(given: dict[str, Any]) -> TrainConfig:
    """The configuration that options already read make."""
    degrees = [given.get(name, 1) for name in ("tp", "pp", "cp")]
    if not {"num_devices", "dp"} & set(given):
        given = {**given, "num_devices": degrees[0] * degrees[1] * degrees[2]}  # as many as the degrees need
    return TrainConfig(**recompute_fields(given))


def resolve(train: TrainConfig, model: ModelConfig) -> TrainConfig:
    """Fill whatever is not said (see `complete`), and check what can be checked; what is complete stays as it is.

    Of arrays every element is checked, but not whether ep fits the ranks: `layouts` counts ops on a grid of degrees
    before it deals them out to devices.

    Raises:
        RooflineError: A word outside its list, a number out of range, or degrees that do not divide.
    """
    return complete(outline(train, model), model)


def outline(train: TrainConfig, model: ModelConfig) -> TrainConfig:
    """The configuration with open whatever its software and degrees decide, for who varies those."""
    return _sized(opened(train, model), model)


def _sized(train: TrainConfig, model: ModelConfig) -> TrainConfig:
    """The configuration checked, with its sizes (seq_len, dp, num_devices, global_batch) and what checks rest on."""
    check_words(train)
    check_precision(train)
    check_offload(train)
    check_numbers(train)
    base = train.base_dtype or usual_base(train.train)
    seq_len = train.seq_len
    if seq_len is None:
        seq_len = default_seq_len(model, train.image_size)
    group = train.tp * train.pp * train.cp
    num_devices, dp = train.num_devices, train.dp
    if dp is None:
        bad = first_where(num_devices % group != 0, num_devices, group, train.tp, train.pp, train.cp)
        if bad is not None:
            devices, ranks, tp, pp, cp = bad
            raise RooflineError(
                f"num_devices {devices} is not a multiple of tp*pp*cp = {tp}*{pp}*{cp} = {ranks} "
                f"(remainder {devices % ranks}): use {-(-devices // ranks) * ranks} devices or smaller degrees"
            )
        dp = divide(num_devices, group)
    elif is_scalar(num_devices) and num_devices == 1:
        num_devices = group * dp
    else:
        bad = first_where(num_devices != group * dp, num_devices, group * dp, train.tp, train.pp, train.cp, dp)
        if bad is not None:
            devices, ranks, tp, pp, cp, data = bad
            raise RooflineError(
                f"num_devices {devices} differs from tp*pp*cp*dp = {tp}*{pp}*{cp}*{data} = {ranks}: "
                f"leave --dp out, or set --num-devices {ranks}"
            )
    global_batch = train.global_batch
    if global_batch is None:
        global_batch = train.micro_batch * dp * where(train.pp > 1, FILL * train.pp, 1)
    detail = train.recompute_detail  # of the word it was said with: another word takes its place
    sized = msgspec.structs.replace(
        train,
        recompute_detail=None if detail is None or coarse(detail) != train.recompute else detail,
        seq_len=seq_len,
        dp=dp,
        num_devices=num_devices,
        global_batch=global_batch,
        base_dtype=base,
        double_quant=True if train.double_quant is None and doubles(base) else train.double_quant,
    )
    intake = usual_intake(sized, model).items()
    sized = msgspec.structs.replace(sized, **{name: usual for name, usual in intake if getattr(sized, name) is None})
    check_against(sized, model)
    return with_recipe(sized)
