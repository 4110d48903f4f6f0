"""What the columns mean: detects the format of rows, and turns a row into an Example."""

from __future__ import annotations

from typing import Any

from tunewright.core.errors import DataError, unknown
from tunewright.core.example import Example, Message
from tunewright.core.retrieval import COLUMNS
from tunewright.data import conversations, entities, media
from tunewright.data.columns import FORMATS, MEDIA_COLUMNS, match, missing
from tunewright.data.conversations import message
from tunewright.data.shapes import MAKERS

_LABEL_COLUMNS = {"label", "category", "intent", "class"}
# Columns that may stand beside a plain text; any other text column could be its answer, so we ask.
_BESIDE_TEXT = {
    "id", "uid", "source", "url", "title", "date", "author", "name", "lang", "language", "license", "licence", "split",
    "timestamp", "created", "file", "meta", "metadata", "topic", "year",
}  # fmt: skip


def detect(rows: list[dict[str, Any]], fields: dict[str, str]) -> str:
    """The format of rows, from their columns. Raises DataError with the columns found when none fits or several do."""
    columns = list(dict.fromkeys(name for row in rows for name, value in row.items() if value is not None))
    given = tuple(columns), tuple(fields.items())
    fits = [name for name in FORMATS if match(name, *given) is not None]
    _refuse_steps(rows, columns)
    if "preference" in fits:
        return "preference"
    if "segments" in fits and "segments" in columns:
        return "segments"
    if "pairs" in fits and _sure_pairs(columns, fields):
        return "pairs"
    chat = match("chat", *given)
    if chat is not None and (kind := _kind_of_chat(rows, chat["messages"])) is not None:
        return kind
    if (kind := _kind_of_entities(rows, fits, columns, fields)) is not None:
        return kind
    gone = {"chat", "sharegpt", "entities", "spans", "segments", "pairs"}
    if "captions" in fits and not _media_columns(rows, columns, fields):
        gone.add("captions")
    fits = [name for name in fits if name not in gone]
    if "instruction" in fits:
        return "instruction"
    return _of_plain_columns(rows, columns, fits, fields)


def _of_plain_columns(rows: list[dict[str, Any]], columns: list[str], fits: list[str], fields: dict[str, str]) -> str:
    """The format where columns hold plain values, each of several of which may be meant."""
    lowered = {name.strip().lower() for name in columns}
    # whether an answer is good, beside the answer
    judged = all(isinstance(row.get("label"), bool) for row in rows) or "kto_tag" in lowered
    if "completion" in fits and ("labels" not in fits or judged or (not fields and "label" not in lowered)):
        return "completion"
    if "captions" in fits and ("labels" not in fits or fields) and "completion" not in fits:
        return "captions"
    several_labels = len(lowered & _LABEL_COLUMNS) > 1 and not lowered & {"label_text", "label_name"}
    if "labels" in fits and not {"completion", "captions"} & {*fits} and ("label" in fields or not several_labels):
        return "labels"
    if fits == ["text"] and ("text" in fields or not _other_text(rows, lowered, "text")):
        return "text"
    if fits == ["prompts"] and ("expected" in fields or not _other_text(rows, lowered, "prompts")):
        return "prompts"
    raise DataError(_question(columns, fits))


def to_example(
    format: str,
    row: dict[str, Any],
    fields: dict[str, str],
    id: str,
    *,
    system: str | None = None,
    place: media.Place = media.NOWHERE,
) -> Example:
    """A row as an Example. Raises DataError(reason) when something is missing, empty or out of order.

    system: put before every conversation that has no system message. place: where references to media lead.
    """
    roles = match(format, tuple(row), tuple(fields.items()))
    if roles is None:
        raise DataError(f"missing column: {missing(format, row, fields)}")
    values = MAKERS[format](row, roles, place)
    messages: list[Message] = values.get("messages", [])
    if format != "text" and (not messages or messages[0].role not in ("system", "developer")):
        own = conversations.system_of(row.get(roles["system"])) if "system" in roles else None
        own = own or system
        if own:
            values["messages"] = [message("system", own), *messages]
    # what an answer is compared with is told under its own name, too: graders of OpenAI's JSON read it as item.NAME
    used = {column for role, column in roles.items() if role not in COLUMNS and (role != "expected" or role == column)}
    meta = {name: value for name, value in row.items() if name not in used and value is not None} | values.pop(
        "meta", {}
    )
    if "message_extras" in values:
        meta["message_extras"] = values.pop("message_extras")
    if meta:
        values["meta"] = meta
    return Example(id=id, **values)


# --- columns ---


def check_format(format: str) -> None:
    """Raise DataError when `data.format` is no word we know."""
    if format != "auto" and format not in FORMATS:
        raise DataError(f"data.format: {unknown('format', format, ['auto', *FORMATS])}")


def check_fields(format: str, rows: list[dict[str, Any]], fields: dict[str, str]) -> None:
    """Raise DataError when `data.fields` has a word that the format does not know, or a column that no row has."""
    columns = {name for row in rows for name in row}
    known = [FORMATS[format]] if format in FORMATS else FORMATS.values()
    words = {word for roles in known for role in roles for word in role.words}
    for word, column in fields.items():
        if word not in words:
            raise DataError(f"data.fields: {unknown(f'word for format {format}', word, words)}")
        if column not in columns:
            raise DataError(f"data.fields: the column of '{word}' is not there. {unknown('column', column, columns)}")


def _kind_of_chat(rows: list[dict[str, Any]], column: str) -> str | None:
    """Whose shape the messages have; None when the column holds no messages at all."""
    for row in rows:
        try:
            listed = conversations.listed(row.get(column))
        except DataError:
            continue
        if listed and isinstance(listed[0], dict):
            return "sharegpt" if "from" in listed[0] else _chat_or_prompts(rows, column)
    return None


def _chat_or_prompts(rows: list[dict[str, Any]], column: str) -> str:
    """Whether conversations are answered, or end with what the user says. Raises DataError where it cannot be told."""
    ends, answered = 0, 0
    for row in rows:
        try:
            roles = [one.get("role") for one in conversations.listed(row.get(column)) if isinstance(one, dict)]
        except DataError:
            continue
        ends += roles[-1:] == ["user"]
        answered += "assistant" in roles
    if ends < len(rows) or not ends:
        return "chat"
    if not answered:
        return "prompts"
    raise DataError(
        f"Every conversation in '{column}' ends with the user, and {answered} of {len(rows)} have answers before. Say "
        "with data.format whether those are learned (chat), or the last question is to be answered (prompts)."
    )


def _sure_pairs(columns: list[str], fields: dict[str, str]) -> bool:
    """Pairs, and no label beside them that may say that they are none."""
    lowered = {name.strip().lower() for name in columns}
    return bool(fields) or not ({"label", "labels"} & lowered and "sentence2" in lowered)


def _media_columns(rows: list[dict[str, Any]], columns: list[str], fields: dict[str, str]) -> bool:
    """Whether there are columns that hold images, sounds or films, all of them."""
    if any(word in fields for role in FORMATS["captions"] if role.media for word in role.words):
        return True
    found = [name for name in columns if name.strip().lower() in MEDIA_COLUMNS]
    values = [row[name] for name in found for row in rows if row.get(name) not in (None, "", [])]
    return bool(values) and all(media.looks_so(value) for value in values)


def _refuse_steps(rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Raise DataError for rows that judge each step of an answer."""
    if "completions" in columns and all(isinstance(row.get("completions"), list) for row in rows):
        raise DataError(
            "Rows with 'completions' judge each step of an answer, which no objective here learns. Join the steps into "
            "one 'completion' with one true or false 'label', and take the objective kto."
        )


def _kind_of_entities(
    rows: list[dict[str, Any]], fits: list[str], columns: list[str], fields: dict[str, str]
) -> str | None:
    """`entities` or `spans` where the columns hold such; None where they only have such names."""
    for name, role, looks_so in (
        ("entities", "tags", lambda value: isinstance(value, list)),
        ("spans", "spans", entities.is_places),
    ):
        roles = match(name, tuple(columns), tuple(fields.items())) if name in fits else None
        if roles is not None and all(looks_so(row[roles[role]]) for row in rows if row.get(roles[role]) is not None):
            return name
    return None


def _other_text(rows: list[dict[str, Any]], lowered: set[str], format: str) -> bool:
    known = {*_BESIDE_TEXT, *(column for role in FORMATS[format] for column in role.columns)}
    return any(
        isinstance(value, str) and name.strip().lower() not in known for row in rows for name, value in row.items()
    )


def _question(columns: list[str], fits: list[str]) -> str:
    if fits:
        what = f"The columns {', '.join(columns)} could be read as {' or '.join(fits)}"
    else:
        what = f"No format fits the columns {', '.join(columns) or '(none)'}"
    return (
        f"{what}. Say which with data.format, and which column is what with data.fields, such as {{prompt: COLUMN, "
        "label: COLUMN}, {prompt: COLUMN, completion: COLUMN} or {image: COLUMN, text: COLUMN}. Formats: "
        "labels (text, label), instruction (instruction, input, output), completion (prompt, completion), chat "
        "(messages), sharegpt (conversations), preference (prompt, chosen, rejected), pairs (anchor, positive, "
        "negative), entities (tokens, tags), spans (text, spans), prompts (prompt, expected), captions (image or "
        "audio, text), segments (segments), text (text)."
    )
