"""The table of commands, and errors that name what was meant."""

import pytest

from roofline.commands.parser import COMMANDS, QUESTIONS, Parser
from roofline.errors import RooflineError


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="roofline test", allow_abbrev=False)
    made.add_argument("model", metavar="MODEL")
    made.add_argument("-d", "--device", required=True)
    made.add_argument("--micro-batch", type=int)
    made.add_argument("--kind", choices=("batch", "memory"))
    made.add_argument("--gradient-dtype", help="summed gradients (--main-grads-dtype)")
    made.add_argument("--offload", help="what lives on the host (offload_param of DeepSpeed)")
    return made


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("--micro-bach=2", "unknown option --micro-bach: did you mean --micro-batch?"),
        ("--batch-size", "unknown option --batch-size: did you mean --micro-batch?"),  # what other tools call it
        ("--zzz", "unknown option --zzz (see"),
        ("--main-grads-dtype", "unknown option --main-grads-dtype: it is --gradient-dtype here (see"),
        ("--offload_param=cpu", "unknown option --offload_param: it is --offload here (see"),
        ("--top=3", "unknown option --top: an option of layouts, profile (see"),
    ],
)
def test_an_unknown_option_names_the_one_that_was_meant(parser, typed, hint):
    with pytest.raises(RooflineError) as error:
        parser.check_options(["gpt2", typed])
    assert hint in str(error.value)


def test_values_and_joined_short_options_are_not_taken_for_options(parser):
    parser.check_options(["gpt2", "-dh100", "-1.5", "-", "--", "--whatever"])


def test_errors_are_one_line_with_the_way_to_help(parser):
    with pytest.raises(RooflineError, match=r"^missing -d/--device \(see 'roofline test --help'\)$"):
        parser.parse_args(["gpt2"])
    with pytest.raises(
        RooflineError, match=r"unknown value 'memry': did you mean 'memory'\? \(allowed: batch, memory\)"
    ):
        parser.parse_args(["gpt2", "-d", "x", "--kind", "memry"])
    with pytest.raises(RooflineError, match="--device: a value is missing"):
        parser.parse_args(["gpt2", "-d"])


def test_usage_spells_out_what_must_be_given(parser):
    assert parser.short_usage() == "roofline test MODEL -d DEVICE [options]"


def test_no_command_is_under_two_questions():
    assert sum(map(len, QUESTIONS.values())) == len(COMMANDS)
