"""A launch script as words and operators."""

import pytest

from roofline.errors import RooflineError
from roofline.readers.shell_words import quoted_end, tokens


def words(text: str) -> list[str]:
    return [token.text for token in tokens(text)[0]]


def test_words_keep_their_quotes_and_operators_stand_alone() -> None:
    found, _ = tokens("A='b c' && run \"$A x\" -n 8;\n")
    assert [(token.text, token.operator) for token in found] == [
        ("A='b c'", False),
        ("&&", True),
        ("run", False),
        ('"$A x"', False),
        ("-n", False),
        ("8", False),
        (";", True),
        ("\n", True),
    ]


def test_comments_and_continued_lines() -> None:
    assert words("run a \\\n  b # c\nd#e") == ["run", "a", "b", "\n", "d#e"]


def test_arrays_and_substitutions_are_one_word() -> None:
    assert words("ARGS=(--a 1\n --b 2)") == ["ARGS=(--a 1\n --b 2)"]
    assert words("N=$((8 * (2 + 1))) M=$(wc -l) K=${A:-b c}") == ["N=$((8 * (2 + 1)))", "M=$(wc -l)", "K=${A:-b c}"]


def test_a_here_document_is_kept_apart() -> None:
    found, documents = tokens("cat <<EOF > x\n{1}\n{2}\nEOF\nnext")
    assert documents == ["{1}\n{2}\n"]
    assert found[-1].text == "next"


@pytest.mark.parametrize(
    ("text", "end"), [("'a' b", 3), ('"a\\"b" c', 6), ("$(echo ')') x", 11), ("${A} x", 4), ("'never", 6), ("`a` b", 3)]
)
def test_where_a_quoted_part_ends(text: str, end: int) -> None:
    assert quoted_end(text, 0) == end


def test_brackets_that_never_end_are_refused() -> None:
    with pytest.raises(RooflineError, match="more than 50 deep"):
        quoted_end("$(" * 60, 0)
