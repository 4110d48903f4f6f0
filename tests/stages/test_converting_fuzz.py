"""Whatever a config holds, it becomes a recipe or is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import conversions
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.core.errors import TunewrightError
from tunewright.stages.converting import convert

CONFIGS = [
    *conversions.LLAMA_FACTORY.values(), *conversions.AXOLOTL.values(), *conversions.TRL.values(), conversions.SOUP,
    conversions.TORCHTUNE,
]  # fmt: skip
WORDS = st.sampled_from(["", "auto", "data/chat.jsonl", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["path", "type", "columns", "file_name", "role"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    conversions.write(folder)
    return folder


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_values_of_known_keys(data: Any, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    config = yaml.safe_load(data.draw(st.sampled_from(CONFIGS)))
    keys = data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=3))
    config |= {key: data.draw(VALUES) for key in keys}
    inner = [key for key, value in config.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    for key in inner:
        config[key][0] |= {name: data.draw(VALUES) for name in sorted(config[key][0])[:1]}
    (desk / "theirs.yaml").write_text(yaml.safe_dump(config))
    (desk / "ours.yaml").unlink(missing_ok=True)
    try:
        report = convert(desk / "theirs.yaml", desk / "ours.yaml")
    except TunewrightError as error:
        assert str(error)
        assert not (desk / "ours.yaml").exists()
        return
    assert report.numbers["recipe"].endswith("ours.yaml")
