"""Which family a model is of, by its name: judges favour answers of their own family."""

from __future__ import annotations

import json
import re
from pathlib import Path

_FAMILIES = {
    "gpt": r"gpt|o[1345](?![a-z0-9])|davinci|chatgpt",
    "claude": r"claude",
    "gemini": r"gemini|gemma|palm",
    "llama": r"llama|vicuna|alpaca",
    "qwen": r"qwen|qwq|qvq",
    "mistral": r"mistral|mixtral|ministral|magistral|codestral|devstral",
    "deepseek": r"deepseek",
    "phi": r"phi",
    "granite": r"granite",
    "olmo": r"olmo|tulu",
    "smollm": r"smollm",
    "command": r"command|aya|c4ai",
    "falcon": r"falcon",
    "glm": r"glm|chatglm",
    "yi": r"yi",
    "kimi": r"kimi",
    "nemotron": r"nemotron",
    "grok": r"grok",
}
_PATTERNS = {name: re.compile(rf"(?<![a-z])(?:{words})(?![a-z]{{4,}})") for name, words in _FAMILIES.items()}


def family_of(model: str) -> str | None:
    """The family of a model by its name, or by the config in its folder; None where the name tells none."""
    folder = Path(model)
    name = model
    if (config := folder / "config.json").is_file():
        try:
            found = json.loads(config.read_text(encoding="utf-8"))
            name = f"{folder.name} {found.get('model_type', '')}"
        except (OSError, ValueError, AttributeError):
            name = folder.name
    name = name.rstrip("/").rpartition("/")[2].lower()
    return next((family for family, pattern in _PATTERNS.items() if pattern.search(name)), None)
