"""Opening and saving a base is silent, from Python too; what fails comes as one sentence."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunewright.models.quiet import quiet

OPEN_AND_SAVE = """
import sys
from pathlib import Path
from tunewright.core.recipe import ModelOptions
from tunewright.models.opening import open_model
open_model(ModelOptions(base=sys.argv[1])).save(Path(sys.argv[2]))
"""


def test_opening_and_saving_print_nothing(tiny: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN_AND_SAVE, str(tiny("llama")), str(tmp_path / "saved")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "saved" / "model.safetensors").exists()


def test_the_callers_settings_come_back() -> None:
    from transformers.utils import logging as library

    hub = logging.getLogger("huggingface_hub")
    before = (hub.level, library.is_progress_bar_enabled())
    with pytest.raises(OSError, match="gone"), quiet():
        assert not library.is_progress_bar_enabled() and not hub.isEnabledFor(logging.WARNING)
        raise OSError("gone")
    assert (hub.level, library.is_progress_bar_enabled()) == before
