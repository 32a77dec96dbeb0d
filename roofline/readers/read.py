"""Reads a run from its framework's own files: finds the framework, applies its rules, accounts for every key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RooflineError
from ..gate import MAPPING, PATH, PATHS, TEXT, gated
from .account import account
from .fields import STANDS_FOR, WORDS, numbers, option_of, present
from .gather import gather
from .layout import solve
from .models import model_of
from .result import RunFile
from .rules import Rules, short


@gated(path=PATH, more=PATHS, given=MAPPING, overrides=MAPPING, framework=TEXT)
def read_run(
    path: str | Path,
    *,
    more: Sequence[str | Path] = (),
    given: Mapping[str, Any] | None = None,
    model: str | None = None,
    overrides: Mapping[str, object] | None = None,
    framework: str | None = None,
) -> RunFile:
    """The run that a framework's own files describe.

    Args:
        path: The run file.
        more: Further files of the same run (``--with``): a launcher's, DeepSpeed's, a base.
        given: Options of the command line; they override the files'.
        model: A model to take in place of the files'.
        overrides: Flat keys of the model to replace.
        framework: Whose file it is, where its keys do not say.

    Raises:
        RooflineError: Unreadable, of no known framework, without something that is needed, or not modelled.
    """
    given = dict(given or {})
    rules = Rules(gather(Path(path), [Path(each) for each in more], framework))
    nameless = model is None and not ({"name", "sized", "config"} & rules.framework.model.keys())
    try:
        said, units = numbers(_options(rules, given), rules.where)
        solved, assumed = solve(said, given, rules.where, complete="global_batch" not in rules.framework.missing)
    except RooflineError:
        if nameless:
            raise _missing(rules, ["model"]) from None
        raise
    rules.keys["our"] = solved
    rules.check(rules.framework.refuse)
    try:
        options, stand_ins = present(solved)
    except RooflineError as error:
        raise RooflineError(f"{rules.where}: {error}") from None
    found, taken = model_of(rules, model, overrides or {})
    lacking = [] if found is not None else ["model"]
    lacking += [name for name in ("micro_batch", "global_batch", "seq_len") if solved.get(name) is None]
    if lacking:
        raise _missing(rules, lacking)
    notes = [note for document in rules.files.documents for note in document.notes]
    notes += [
        *rules.files.notes,
        *taken,
        *rules.sentences(rules.framework.warn),
        *rules.sentences(rules.framework.note),
    ]
    return RunFile(
        title=rules.framework.title,
        model=found,
        options=options,
        said=solved,
        report=account(rules, assumed),
        notes=[*assumed, *notes, *units, *_overridden(said, given), *stand_ins],
    )


def _options(rules: Rules, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the files say for each of our options; one that the command line gives need not be readable."""
    said: dict[str, Any] = {}
    for name, expression in rules.framework.options.items():
        try:
            said[name] = rules.value(expression, name)
        except RooflineError:
            if STANDS_FOR.get(name, name) not in given:
                raise
            said[name] = None
        rules.keys["our"] = {**said, **given}
    return said


def _missing(rules: Rules, lacking: Sequence[str]) -> RooflineError:
    """The error for a run that lacks what nothing can stand in for: all of it, with its options and the reason."""
    names = [*(["recipe"] if "recipe" in rules.framework.missing and "model" in lacking else []), *lacking]
    if "micro_batch" in names and "global_batch" in names and "global_batch" not in rules.framework.missing:
        names.remove("global_batch")
    reasons = [rules.fill(rules.framework.missing[name]) for name in names if name in rules.framework.missing]
    words = [WORDS.get(name, f"the {name}") for name in names]
    said = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    flags = [option_of(name) for name in names if name not in {"model", "recipe"}]
    remedy = f"add {', '.join(flags)}"
    if "model" in names:
        remedy = f"name the model first ({' '.join(['roofline COMMAND MODEL --with', rules.path.name, *flags])})"
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return RooflineError(f"{rules.where} does not say {said}{why}: {remedy}")


def _overridden(said: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Sentences on what the command line changed."""
    return [
        f"--{name.replace('_', '-')} {short(value)} overrides {short(said[name])} of the file"
        for name, value in given.items()
        if said.get(name) is not None and said[name] != value
    ]
