"""Find personal data and secrets in rows, or take them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.cli import carrying, options


def command(
    sources: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Files, folders, globs or hub: names, as in data.sources.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the rows go: a JSONL file.")],
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field", metavar="COLUMN", help="A column to look at. Repeatable; all texts but labels when left out."
        ),
    ] = None,
    spans: Annotated[
        bool, typer.Option("--spans", help="Change nothing: add to each row what was found in its --field.")
    ] = False,
    types: Annotated[
        str, typer.Option("--types", metavar="TYPES", help="With commas: EMAIL_ADDRESS,PERSON. All when left out.")
    ] = "all",
    action: Annotated[
        str, typer.Option("--action", metavar="ACTION", help="surrogate, mask, hash, drop (the row) or keep.")
    ] = "surrogate",
    actions: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="TYPE=ACTION", help="Another action for a type. Repeatable."),
    ] = None,
    recognizer: Annotated[str, typer.Option("--recognizer", metavar="KIND", help="rules or presidio.")] = "rules",
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="env:NAME|FILE", help="The same key gives the same surrogates and hashes."),
    ] = None,
    keep_mapping: Annotated[
        str | None, typer.Option("--keep-mapping", metavar="FILE", help="Keep what became what, encrypted.")
    ] = None,
    mapping_for: Annotated[
        str | None,
        typer.Option("--mapping-for", metavar="WHO", help="An age recipient, or a passphrase: env:NAME or a file."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over the --out file.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data scrub tickets.jsonl --field text --out clean.jsonl

    Puts surrogates of the same form in the place of names, addresses, numbers and secrets: one person is one surrogate
    wherever it is named. With --spans rows stay as they are, and get `spans`: start, end and type of what was found.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import scrubbing

    values = {
        "types": types if types == "all" else [type.strip() for type in types.split(",")],
        "action": action,
        "actions": dict(one.partition("=")[::2] for one in actions or []),
        "recognizer": recognizer,
        "key": key,
        "keep_mapping": keep_mapping,
        "mapping_for": mapping_for,
    }
    with carrying.quiet(as_json), Progress() as progress:
        report = scrubbing.scrub(sources, out, values, fields=field, spans=spans, replace=replace, listeners=[progress])
    carrying.finish(report, as_json=as_json)
