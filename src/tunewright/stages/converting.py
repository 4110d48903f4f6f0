"""A config of another tool becomes a recipe: what is carried over, and what is not, with reasons."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from tunewright.core import mistakes, storage
from tunewright.core.errors import NotThere, RecipeError
from tunewright.core.recipe import Recipe, yaml_lines
from tunewright.core.report import Finding, Report
from tunewright.stages import (
    from_axolotl,
    from_llama_factory,
    from_soup,
    from_torchtune,
    from_trl,
    starting,
)
from tunewright.stages.foreign import Foreign, locate

TOOLS = (from_torchtune, from_axolotl, from_soup, from_llama_factory, from_trl)
_NAMES = ", ".join(sorted(tool.TOOL for tool in TOOLS))
_ORDER = ("problem", "warning", "info")
_LONGEST_BYTES = 1 << 20


def convert(config: str | Path, path: str | Path = "recipe.yaml") -> Report:
    """Write the recipe that a config amounts to. Never overwrites. Raises NotThere, RunError or RecipeError."""
    config, path = Path(config), starting.recipe_path(path)
    foreign, tool = _read(config)
    tool.convert(foreign)
    values = ordered(foreign, path)
    made = Recipe.parse(values, folder=path.resolve().parent)
    storage.write_text(path, text(foreign, values))
    numbers = {
        "recipe": str(path),
        "from": foreign.tool,
        "carried": foreign.carried,
        "usual": sorted(foreign.usual),
        "not_carried": list(foreign.left),
    }
    return Report(
        stage="init", run=made.name, numbers=numbers, findings=findings(foreign), next=f"tunewright check {path}"
    )


# --- reading ---


def _read(path: Path) -> tuple[Foreign, Any]:
    """The config and whose it is."""
    if not path.is_file():
        raise NotThere(f"There is no config {path}. Give the YAML or the script that the other tool is started with.")
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{path} is not text in UTF-8, as a config is. Give the YAML of the other tool.") from None
    if len(text) > _LONGEST_BYTES:
        raise RecipeError(f"{path} is too long for a config. Give the YAML of the other tool; rows go to --data.")
    if path.suffix.lower() in (".sh", ".bash", ".zsh", ".cmd"):
        return _from_script(text, path)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        if _command(text) is None:
            raise RecipeError(f"{path} is not readable as YAML: {mistakes.place(error)}.") from None
        values = None
    if not isinstance(values, dict):
        return _from_script(text, path)
    config = {str(key): value for key, value in values.items()}
    tool = next((tool for tool in TOOLS if tool.is_one(config)), None)
    if tool is None:
        keys = ", ".join(list(config)[:8]) or "none"
        what = "is a recipe already" if "data" in config and "sources" in str(config["data"]) else "is not recognised"
        raise RecipeError(f"{path} {what}: configs of {_NAMES} can be converted, and its keys are {keys}.")
    return Foreign(tool.TOOL, config, path), tool


def _from_script(text: str, path: Path) -> tuple[Foreign, Any]:
    """The command line of a script: its flags, over the YAML that it names."""
    found = _command(text)
    if found is None:
        raise RecipeError(
            f"{path} holds neither keys nor a command line of TRL (trl sft ...), LLaMA-Factory (llamafactory-cli train "
            "...) or Axolotl (axolotl train ...). Give the YAML of the other tool."
        )
    tool, command, words = found
    config, named = _flags(words, positional=tool is not from_trl)
    if named is not None:
        file = locate(named, path)
        if file is None:
            raise NotThere(f"There is no config {named}, which {path} names. Paths are relative to the current folder.")
        beneath = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(beneath, dict):
            raise RecipeError(f"{file} is no mapping of keys. Give the YAML of the other tool.")
        config, path = {**beneath, **config}, file
    return Foreign(tool.TOOL, config, path, command=command if tool is from_trl else None), tool


def _command(text: str) -> tuple[Any, str, list[str]] | None:
    """The tool that a script starts, the word behind its name, and what follows."""
    variables: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        words = [
            re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found.group(1), found.group()), one) for one in words
        ]
        while words and (words[0] == "export" or re.fullmatch(r"\w+=.*", words[0])):
            name, equals, value = words.pop(0).partition("=")
            if equals:
                variables[name] = value
        for at, word in enumerate(words):
            after = words[at + 1] if at + 1 < len(words) else ""
            program, stem = Path(word).name, Path(word).stem
            if program == "trl" and after in from_trl.COMMANDS:
                return from_trl, after, words[at + 2 :]
            if program.endswith(".py") and stem in from_trl.COMMANDS and at + 1 < len(words):
                return from_trl, stem, words[at + 1 :]
            for name, tool in (("llamafactory-cli", from_llama_factory), ("axolotl", from_axolotl)):
                if program == name and after == "train":
                    return tool, after, words[at + 2 :]
    return None


def _flags(words: list[str], *, positional: bool) -> tuple[dict[str, Any], str | None]:
    """--key value, --key=value, --key and key=value as a config; and the YAML that is named."""
    config: dict[str, Any] = {}
    named: str | None = None
    key: str | None = None
    for word in words:
        if word in ("&&", ";", "|", "&", ">", ">>", "2>&1"):
            break
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            key = key.replace("-", "_")
            config[key] = _value(value) if equals else True
        elif key is not None and config[key] is True:
            config[key] = _value(word)
        elif key is not None and positional is False:
            config[key] = [*(config[key] if isinstance(config[key], list) else [config[key]]), _value(word)]
        elif "=" in word:
            name, _, value = word.partition("=")
            config[name] = _value(value)
        else:
            named = word
    if isinstance(given := config.pop("config", None), str):
        named = given
    return config, named


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


# --- writing ---


def ordered(foreign: Foreign, path: Path) -> dict[str, Any]:
    """The recipe's values in their usual order, with a name, and paths as they are seen from the recipe."""
    values = foreign.values
    values["name"] = values.get("name") or starting.run_name(path, foreign.path) or "converted"
    data, folder = values["data"], path.parent
    data["sources"] = [_seen(name, folder) for name in data["sources"]]
    if data.get("validation"):
        data["validation"] = _seen(data["validation"], folder)
    order = ("name", "data", "model", "method", "objective", "train", "evaluate")
    values["data"] = {key: data[key] for key in ("sources", "format", "fields", "system", *data) if key in data}
    if list(values["model"]) == ["base"]:
        values["model"] = values["model"]["base"]
    return {key: values[key] for key in order if key in values}


def _seen(name: str, folder: Path) -> str:
    return name if name.startswith("hub:") else starting.relative(Path(name), folder)


def text(foreign: Foreign, values: dict[str, Any]) -> str:
    """The recipe as YAML, with what is not carried over as comments at its end."""
    head = [f"# From {foreign.path.name} ({foreign.tool}). What is not carried over stands at the end."]
    tail = [f"# Not carried over from {foreign.path.name}:"] if foreign.left else []
    for key, left in sorted(foreign.left.items(), key=lambda item: _ORDER.index(item[1].severity)):
        mark = "" if left.severity == "info" else f"{left.severity}: "
        tail.append(f"#   {key}{_shown(foreign, key)}: {mark}{left.why}")
    return "\n".join([*head, *yaml_lines(values, foreign.usual), *tail]) + "\n"


def _shown(foreign: Foreign, key: str) -> str:
    """A key's value, short, where the config has it as it stands."""
    if key not in foreign.config:
        return ""
    text = " ".join(str(foreign.config[key]).split())
    return f" = {text if len(text) <= 60 else text[:57] + '...'}"


def findings(foreign: Foreign) -> list[Finding]:
    """What is not carried over, the worst first, and what is written as the tool fills it."""
    worst_first = sorted(foreign.left.items(), key=lambda item: _ORDER.index(item[1].severity))
    found = [
        Finding(
            name="not_carried_over",
            severity=left.severity,
            message=f"not carried over: {key}{_shown(foreign, key)} ({left.why})",
        )
        for key, left in worst_first
    ]
    if foreign.usual:
        keys = ", ".join(sorted(foreign.usual))
        message = f"The config leaves these open; they are written as {foreign.tool} fills them: {keys}."
        remedy = "Take such a line out of the recipe to have choose fill it."
        found.append(Finding(name="usual_values", message=message, remedy=remedy))
    return found
