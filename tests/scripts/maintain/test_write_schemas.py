"""The schemas that editors read are those of the types that decode the files, and each file names its own."""

import json
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from ...maintain import script

write_schemas = script("write_schemas")

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not (ROOT / "schemas").is_dir(), reason="not in a wheel")


@pytest.mark.skipif(
    [int(each) for each in version("msgspec").split(".")[:2]] < [0, 22],
    reason="earlier versions word schemas otherwise",
)
def test_schemas_are_current():
    """Run ``python scripts/maintain/write_schemas.py`` where they are not."""
    assert sorted(str(path.relative_to(ROOT)) for path in write_schemas.stale()) == []


def test_every_pattern_has_files_that_name_their_schema():
    for pattern, schema in write_schemas.FILES.items():
        if not (ROOT / pattern).parent.is_dir():  # the suite of a source distribution runs on its wheel
            continue
        files = sorted(ROOT.glob(pattern))
        assert files
        for path in files:
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            assert (path.parent / first.removeprefix("#:schema ")).resolve() == ROOT / "schemas" / f"{schema}.json"


def test_a_models_schema_knows_every_key_with_its_range():
    schema = json.loads((ROOT / "schemas" / "model.json").read_text(encoding="utf-8"))
    for path in ROOT.glob("roofline/model/presets/*.toml"):
        keys = tomllib.loads(path.read_text(encoding="utf-8")).keys()
        assert set(schema["required"]) <= keys <= schema["properties"].keys()
    assert schema["properties"]["experts_per_token"] == {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    layer = schema["properties"]["variations"]["items"]["properties"]
    assert "window" in layer
    assert "vocab_size" not in layer


def test_fields_say_what_they_mean():
    schema = write_schemas.of_type(write_schemas.Family, "a family")
    assert schema["properties"]["refused"]["description"] == "Why models of this type are not counted."
    assert schema["additionalProperties"] is False


def test_every_toml_file_that_people_add_to_names_a_schema():
    for folder in ("hardware", "roofline/model/presets", "roofline/model/families", "roofline/readers/frameworks"):
        for path in ROOT.glob(f"{folder}/**/*.toml"):
            assert path.read_text(encoding="utf-8").startswith("#:schema "), path


def test_tuples_are_in_the_words_of_the_dialect():
    schema = write_schemas.SCHEMAS["optimizers"]()
    rows = schema["definitions"]["Optimizer"]["properties"]["matmuls"]["items"]
    assert rows["items"][:3] == [{"enum": ["m", "n", "r"]}] * 3  # draft 7 has no prefixItems
    assert rows["additionalItems"] is False


def test_parts_of_a_file_say_what_their_fields_mean():
    parts = write_schemas.SCHEMAS["device"]()["definitions"]
    assert parts["Gemm"]["properties"]["p"]["description"].startswith("Sharpness of the passage from memory-bound")
