"""The schemas that editors read are those of the types that decode the files, and each file names its own."""

import importlib.util
import json
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not (ROOT / "schemas").is_dir(), reason="not in a wheel")


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "maintain" / "write_schemas.py"
    spec = importlib.util.spec_from_file_location("write_schemas", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_schemas_are_current(script):
    """Run ``python scripts/maintain/write_schemas.py`` where they are not."""
    assert sorted(str(path.relative_to(ROOT)) for path in script.stale()) == []


def test_every_pattern_has_files_that_name_their_schema(script):
    for pattern, schema in script.FILES.items():
        files = sorted(ROOT.glob(pattern))
        assert files
        for path in files:
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            assert (path.parent / first.removeprefix("#:schema ")).resolve() == ROOT / "schemas" / f"{schema}.json"


def test_a_models_schema_knows_every_key_with_its_range(script):
    schema = json.loads((ROOT / "schemas" / "model.json").read_text(encoding="utf-8"))
    for path in ROOT.glob("roofline/model/presets/*.toml"):
        keys = tomllib.loads(path.read_text(encoding="utf-8")).keys()
        assert set(schema["required"]) <= keys <= schema["properties"].keys()
    assert schema["properties"]["experts_per_token"] == {"type": "integer", "minimum": 1, "maximum": 1_000_000}
    layer = schema["properties"]["variations"]["items"]["properties"]
    assert "window" in layer
    assert "vocab_size" not in layer


def test_fields_say_what_they_mean(script):
    schema = script.of_type(script.Family, "a family")
    assert schema["properties"]["refused"]["description"] == "Why models of this type are not counted."
    assert schema["additionalProperties"] is False
