"""Reads a run from its framework's own files: finds the framework, applies its rules, accounts for every key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import RooflineError
from ..model.expressions import ExpressionError, evaluate, fields_in
from .documents import Document
from .fields import OPTION, WORDS, numbers, present
from .framework import Framework, Rule, load_framework
from .gather import Gathered, gather
from .keys import Keys, UnsetVariable, Written, leaves
from .layout import solve
from .models import model_of
from .result import ConfigReport, ReadKey, RunFile

# keys whose name says that they size something: one that no rule knows, with a number, is refused
_SIZES = re.compile(
    r"(^|[_.])(micro_?batch|global_?batch|batch_?size|seq(uence)?_?len(gth)?|max_length|block_size|num_layers|n_layers?|"
    r"hidden_size|n_heads?|num_(attention_)?heads|num_experts|n_experts|vocab_size|"
    r"\w*parallel\w*(size|degree|dim)|(tensor|pipeline|context|expert)_parallel\w*|world_size)$"
)
_NO_SIZE = re.compile(r"eval|valid|test|infer|generat|prompt|image|vision|vit|audio|draft|teacher|data|buffer|queue|log|"
                      r"bucket|prefetch|tokeniz|shuffle|sampler|rl|ref_|loader")


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
    files = gather(Path(path), [Path(each) for each in more], framework)
    return _Reading(files, dict(given or {})).run(model, overrides or {})


class _Reading:
    """One run being read."""

    def __init__(self, files: Gathered, given: dict[str, Any]) -> None:
        self.files, self.given = files, given
        self.rules: Framework = load_framework(files.framework)
        self.where = f"{Path(files.documents[0].path).name} ({self.rules.title})"
        known = dict(leaves({key: value for key, value in self.rules.defaults.items() if value != {}}))
        self.keys = Keys(files.values, self.rules.lift, known)
        self.uses: dict[str, list[str]] = {}  # key -> our options
        self.notes: list[str] = [note for document in files.documents for note in document.notes] + files.notes

    def run(self, model: str | None, overrides: Mapping[str, object]) -> RunFile:
        """Apply the rules."""
        self.keys["variables"] = self.files.variables
        self.keys["written"] = Written(self.keys)
        self.keys["form"] = self.files.documents[0].form
        self.keys["file_name"] = Path(self.files.documents[0].path).name
        self.keys["comments"] = self.files.documents[0].comments
        self.keys["our"] = {}
        self.keys["parts"] = sorted(self.files.parts)
        for name, expression in self.rules.derived.items():
            self.keys[name] = self.value(expression, name, derived=True)
        if model is None and self.rules.missing.get("model") and not self.rules.model:
            self.need(False, {**self.given, "micro_batch": 0, "global_batch": 0, "seq_len": 0, **self.given})
        said = {}
        for name, expression in self.rules.options.items():
            said[name] = self.option(name, expression)
            self.keys["our"] = {**self.keys["our"], name: self.given.get(name, said[name])}
        said, units = numbers(said, self.where)
        said["least_dp"] = None
        solved, assumed = solve(said, self.given, self.where)
        self.keys["our"] = solved
        self.check(self.rules.refuse)
        found = model_of(self, model, overrides)
        self.need(found is not None, solved)
        self.notes += self.sentences(self.rules.warn) + self.sentences(self.rules.note) + units
        self.overridden(said)
        try:
            options, later = present(solved)
        except RooflineError as error:
            raise RooflineError(f"{self.where}: {error}") from None
        report = self.report(assumed)
        return RunFile(
            title=self.rules.title,
            model=found,
            options=options,
            said=solved,
            report=report,
            notes=[*assumed, *self.notes, *later],
        )

    # --- rules --------------------------------------------------------------------------------------------

    def option(self, name: str, expression: str) -> Any:
        """The value of one of our options; one that the command line gives need not be readable."""
        if name in self.given:
            try:
                return self.value(expression, name)
            except RooflineError:
                return None
        return self.value(expression, name)

    def value(self, expression: str, option: str, *, derived: bool = False) -> Any:
        """The value of an expression; the keys it read count as `option`'s."""
        self.keys.begin()
        try:
            value = evaluate(expression, self.keys)
        except UnsetVariable as unset:
            if derived:  # an error only where an option needs it
                return unset.value
            flag = OPTION.get(option, "--" + option.replace("_", "-"))
            raise RooflineError(
                f"{self.where}: {unset.key} is {unset.value.text}, and nothing sets {unset.value.name}: give {flag}, "
                "or the file that sets it with --with"
            ) from None
        except ExpressionError as error:
            shown = ", ".join(f"{key} = {_short(value)}" for key, value in self.keys.touched.items())
            raise RooflineError(f"{self.where}: cannot read {option} from {shown or 'its keys'}: {error.problem}") from None
        for key in self.keys.touched:
            self.uses.setdefault(key, [])
            if option not in self.uses[key]:
                self.uses[key].append(option)
        return value

    def check(self, rules: Sequence[Rule]) -> None:
        """Raise the first refusal that holds."""
        for sentence in self.sentences(rules):
            raise RooflineError(f"{self.where}: {sentence}")

    def sentences(self, rules: Sequence[Rule]) -> list[str]:
        """The sentences of the rules that hold."""
        return [self.fill(rule.say) for rule in rules if self.value(rule.when, "note")]

    def fill(self, text: str) -> str:
        """A sentence with the values of its expressions."""
        return re.sub(r"\{([^{}]+)\}", lambda match: _short(self.value(match.group(1), "note")), text)

    def need(self, model: bool, solved: Mapping[str, Any]) -> None:
        """Refuse a run that lacks what nothing can stand in for.

        Raises:
            RooflineError: Names all that is missing, with its option and why a file of this framework may not have it.
        """
        lacking = [] if model else ["model"]
        lacking += [name for name in ("micro_batch", "global_batch", "seq_len") if solved.get(name) is None]
        if "micro_batch" in lacking and "global_batch" in lacking and "global_batch" not in self.rules.missing:
            lacking.remove("global_batch")
        if self.rules.missing.get("recipe") and "model" in lacking:
            lacking.insert(0, "recipe")
        if not lacking:
            return
        reasons = [self.fill(self.rules.missing[name]) for name in lacking if name in self.rules.missing]
        names = [WORDS.get(name, f"the {name}") for name in lacking]
        words = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        option_names = [OPTION[name] for name in lacking if name not in {"model", "recipe"}]
        remedy = f"add {', '.join(option_names)}" if option_names else ""
        if "model" in lacking:
            again = " ".join(["roofline COMMAND MODEL --with", Path(self.files.documents[0].path).name, *option_names])
            remedy = f"name the model first ({again})"
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise RooflineError(f"{self.where} does not say {words}{why}: {remedy}")

    def overridden(self, said: Mapping[str, Any]) -> None:
        """Say what the command line changed."""
        for name, value in self.given.items():
            before = said.get(name)
            if before is not None and before != value:
                option = OPTION.get(name, "--" + name.replace("_", "-"))
                self.notes.append(f"{option} {_short(value)} overrides {_short(before)} of the file")

    # --- the account --------------------------------------------------------------------------------------

    def report(self, assumed: list[str]) -> ConfigReport:
        """What became of every key.

        Raises:
            RooflineError: A key that no rule knows has a name that says it sizes something.
        """
        read, ignored, unknown = [], [], []
        known = self.known_keys()
        for key, value in leaves(self.files.values):
            options = [option for option in self.uses.get(key, []) if option in _OPTIONS]
            if options:
                read.append(ReadKey(key=key, value=_plain(value), option=", ".join(options)))
            elif key in self.keys.read or key in known or self.is_harmless(key):
                ignored.append(key)
            else:
                unknown.append(key)
        self.refuse_sizes(unknown)
        defaults = [f"{key} = {_short(value)} ({self.rules.title}'s default)" for key, value in self.keys.assumed.items()]
        return ConfigReport(
            framework=self.files.shown,
            files=[document.path for document in self.files.documents],
            read=read,
            assumed=[*assumed, *defaults],
            ignored=ignored,
            not_understood=unknown,
        )

    def known_keys(self) -> set[str]:
        """The keys that some rule looks up where it applies."""
        rules = self.rules
        texts = [*rules.derived.values(), *rules.options.values(), *rules.model.values(), *rules.sizes.values()]
        texts += [*rules.changes.values(), *(named.name for named in rules.files)]
        texts += [text for config in rules.configs for text in (config.when, *config.fields.values())]
        for rule in (*rules.refuse, *rules.warn, *rules.note):
            texts += [rule.when, *re.findall(r"\{([^{}]+)\}", rule.say)]
        names = {name.removeprefix("written.") for text in texts for name in fields_in(text)}
        return {f"{section}{name}" for name in names for section in ("", *(f"{each}." for each in rules.lift))}

    def is_harmless(self, key: str) -> bool:
        """Whether a key is among those without bearing on time or memory."""
        bare = key.rsplit(".", 1)[-1]
        return any(fnmatchcase(key, pattern) or fnmatchcase(bare, pattern) for pattern in self.rules.harmless)

    def refuse_sizes(self, keys: list[str]) -> None:
        """Refuse keys that no rule knows and that size something."""
        values = dict(leaves(self.files.values))
        for key in keys:
            value = values[key]
            sizes = isinstance(value, (int, float)) and not isinstance(value, bool) and value not in {0, 1, -1}
            if sizes and _SIZES.search(key) and not _NO_SIZE.search(key):
                raise RooflineError(
                    f"{self.where}: {key} = {_short(value)} is not understood, and its name says that it sizes something: "
                    "take it out of the file, and give what it means as an option"
                )


_OPTIONS = frozenset(
    "num_devices devices_per_node tp pp vp dp cp ep etp sharding micro_batch global_batch accumulation "
    "accumulation_of_all batch_per_device seq_len mean_len dtype optimizer optimizer_detail recompute recompute_detail "
    "attention sequence_parallel train lora_rank lora_modules base_dtype fused master_weights stack dropout schedule "
    "pp_layout dispatcher offload offload_to low_precision_recipe model freeze".split()
)


def _short(value: Any) -> str:
    """A value in at most a few words."""
    text = value if isinstance(value, str) else repr(value) if not isinstance(value, float) else f"{value:g}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    """A value that JSON takes."""
    text = getattr(value, "text", None)
    return text if isinstance(text, str) else value


def documents_of(run: RunFile) -> list[str]:
    """The files a run was read from."""
    return run.report.files


__all__ = ["Document", "read_run"]
