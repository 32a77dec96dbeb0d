"""``roofline completion``: a script with which a shell completes commands, options, presets, devices and words."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from .parser import COMMANDS, command_parser

EXAMPLES = ("roofline completion bash", "roofline completion fish")
PLACES = (
    "bash: write it to ~/.local/share/bash-completion/completions/roofline; zsh: as _roofline into a folder of $fpath; "
    "fish: to ~/.config/fish/completions/roofline.fish"
)
_ALLOWED = re.compile(r"\(allowed: ([^()]*)\)")
_NO_SUCH_WORD = "\0"
_MANY = 50  # words: a catalog, which stands once in a script
_FILES = {"FILE", "TRACE", "CSV", "FOLDER"}  # names of values that are files


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """An option, or (without names) what stands before all options."""

    names: tuple[str, ...] = ()
    takes_value: bool = True
    words: tuple[str, ...] = ()
    files: bool = False
    summary: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", metavar="SHELL", choices=tuple(SHELLS), help=f"{', '.join(SHELLS)}. {PLACES}")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write(SHELLS[args.shell]({name: options_of(name) for name in COMMANDS}))
    return 0


def options_of(command: str) -> list[Option]:
    """What a command takes, with the words that are known for each."""
    parser, _ = command_parser(command)
    return [
        Option(
            names=tuple(action.option_strings),
            takes_value=action.nargs != 0,
            words=_words(action),
            files=str(action.metavar) in {*_FILES, "MODEL", "DEVICE", "STACK"},
            summary=re.split(r"[;:.(]", action.help or "")[0].strip(),
        )
        for action in parser._actions  # noqa: SLF001 (argparse has no other way to list them)
    ]


def _words(action: argparse.Action) -> tuple[str, ...]:
    """The words that an argument may be: its choices, the ids of a catalog, or what its reader allows."""
    from ..config.stack import stack_names
    from ..hardware import device_ids
    from ..hardware.instances import instances
    from ..model.presets import model_ids

    if action.choices is not None:
        return tuple(map(str, action.choices))
    catalogs: dict[str, Callable[[], Iterable[str]]] = {
        "MODEL": model_ids,
        "DEVICE": lambda: [*device_ids(), *(each.name for each in instances()), "local"],
        "STACK": stack_names,
    }
    if str(action.metavar) in catalogs:
        return tuple(catalogs[str(action.metavar)]())
    if not callable(action.type):
        return ()
    try:
        action.type(_NO_SUCH_WORD)
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:  # it names what it allows
        found = _ALLOWED.search(str(error))
        return tuple(found[1].replace("'", "").split(", ")) if found else ()
    return ()


def _bash(commands: dict[str, list[Option]]) -> str:
    """A function that looks at the command and the word before; catalogs stand in it once."""
    catalogs: dict[tuple[str, ...], str] = {}

    def known(words: Sequence[str]) -> str:
        if len(words) < _MANY:
            return f"'{' '.join(words)}'"
        return f"${catalogs.setdefault(tuple(words), f'catalog{len(catalogs)}')}"

    cases = []
    for command, options in commands.items():
        names = " ".join(name for option in options for name in option.names)
        before = [option for option in options if not option.names]
        cases.append(f"        {command}:-) words='{names}';;")
        for option in options:
            if option.takes_value and option.names:
                patterns = "|".join(f"{command}:{name}" for name in option.names)
                shown = f"words={known(option.words)}" if option.words else ":"
                cases.append(f"        {patterns}) {shown};;")
        words = [word for option in before for word in option.words]
        cases.append(f"        {command}:*) words={known(words)};;")
    held = "".join(f"    local {name}='{' '.join(words)}'\n" for words, name in catalogs.items())
    # the option before decides; where the word itself starts with a dash it is an option
    return f"""# bash completion of roofline: files are completed where no word fits
_roofline() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=''
    COMPREPLY=()
{held}    if ((COMP_CWORD == 1)); then
        words='{" ".join([*commands, "help", "--help", "--version"])}'
    else
        [[ $before == -* && $current != -* ]] || before='' && [[ $current != -* ]] || before=-
        case ${{COMP_WORDS[1]}}:$before in
{chr(10).join(cases)}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o bashdefault -o default -F _roofline roofline
"""


def _quoted(text: str) -> str:
    """Text in single quotes, as zsh and fish take it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "’") + "'"


def _zsh(commands: dict[str, list[Option]]) -> str:
    """A function of `_arguments`, one case a command."""
    catalogs: dict[tuple[str, ...], str] = {}  # words with which files go -> the function that offers both

    def value(option: Option, what: str) -> str:
        if option.files and option.words:
            return f":{what}:{catalogs.setdefault(option.words, f'_roofline_{len(catalogs)}')}"
        words = f"({' '.join(option.words)})" if option.words else ""
        return f":{what}:{words or ('_files' if option.files else ' ')}"

    cases = []
    for command, options in commands.items():
        lines = []
        for option in options:
            summary = re.sub(r"[\[\]:'`$\"\\]", "", option.summary)
            if not option.names:
                lines.append(f"'*{value(option, 'argument')}'")
            taken = value(option, "value") if option.takes_value else ""
            lines.extend(f"'*{name}[{summary}]{taken}'" for name in option.names)
        cases.append(f"        {command}) _arguments {' '.join(lines)};;")
    shown = " ".join(_quoted(f"{name}:{COMMANDS[name]}") for name in commands)
    functions = [
        f"{name}() {{ _alternative 'name:name:({' '.join(words)})' 'files:file:_files' }}"
        for words, name in catalogs.items()
    ]
    return f"""#compdef roofline
{chr(10).join(functions)}
_roofline() {{
    if ((CURRENT == 2)); then
        local -a commands=({shown})
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    ((CURRENT--))
    case $command in
{chr(10).join(cases)}
    esac
}}
if [[ $funcstack[1] == _roofline ]]; then _roofline "$@"; else compdef _roofline roofline; fi
"""


def _fish(commands: dict[str, list[Option]]) -> str:
    """A line for each option."""
    first = "complete -c roofline -n __fish_use_subcommand"
    lines = [f"{first} -f", *(f"{first} -a {name} -d {_quoted(COMMANDS[name])}" for name in commands)]
    for command, options in commands.items():
        when = f"complete -c roofline -n '__fish_seen_subcommand_from {command}'"
        for option in options:
            words = f" -a {_quoted(' '.join(option.words))}" if option.words else ""
            if not option.names:
                lines.append(f"{when}{words}")
                continue
            flags = "".join(f" -l {n[2:]}" if n.startswith("--") else f" -s {n[1:]}" for n in option.names)
            needs = (" -r" if option.files else " -x") if option.takes_value else ""
            lines.append(f"{when}{flags}{needs}{words} -d {_quoted(option.summary)}")
    return "\n".join(lines) + "\n"


SHELLS: dict[str, Callable[[dict[str, list[Option]]], Any]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
