"""Let a model write rows: from documents, from seeds, or for labels."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli import asking, carrying, options


def command(
    source: Annotated[
        str, typer.Argument(metavar="RUN|FILE|DOCUMENTS", help="A prepared run, a file of rows, or text files.")
    ],
    out: options.NewRows,
    num: Annotated[int, typer.Option(metavar="N", help="Rows to be written.")] = 100,
    kind: Annotated[
        str, typer.Option("--from", metavar="KIND", help="documents, seeds or labels; told from the source when auto.")
    ] = "auto",
    endpoint: asking.Url = None,
    model: asking.Model = None,
    key: asking.Key = None,
    at_once: Annotated[int | None, typer.Option(metavar="N", help="Requests under way together; 4.")] = None,
    grader: Annotated[
        str | None, typer.Option(help="A grader each row must satisfy: a name, or {kind: regex, pattern: ...}.")
    ] = None,
    at_least: Annotated[float, typer.Option(help="The grade a row must reach.")] = 1.0,
    tokens: Annotated[int | None, typer.Option("--budget-tokens", metavar="N", help="Tokens to use at most.")] = None,
    money: Annotated[float | None, typer.Option("--budget", metavar="MONEY", help="Money to spend at most.")] = None,
    prices: Annotated[
        str | None, typer.Option(metavar="IN,OUT", help="What a million tokens cost, sent and received.")
    ] = None,
    words: Annotated[int, typer.Option(help="Longest passage of a document.")] = 200,
    system: Annotated[str | None, typer.Option(help="A system message for rows from documents.")] = None,
    temperature: Annotated[float, typer.Option(help="Higher varies more, and errs more.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Another seed writes other rows.")] = 0,
    test: options.TestFiles = None,
    fields: options.Fields = None,
    runs: options.Runs = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """tunewright data synthesize faq/ --out qa.jsonl --num 200 --endpoint http://localhost:8000/v1 --model NAME

    Rows go through filters (readable, new, grounded in their passage, unlike rows that measure, a grader's grade) and
    into a file for `data.more` of a recipe. Replies are kept as they come: after a stop or a failure the same command
    goes on, and pays for nothing twice. With --grader and a grader that compares, the model answers each row again
    without seeing the first answer, and both must agree.
    """
    from tunewright.cli.progress import Progress
    from tunewright.stages import synthesizing

    values = {
        "num": num,
        "kind": kind,
        **asking.named(endpoint, model, key, at_once=at_once, prices=asking.priced(prices)),
        "grader": options.listed(grader, "--grader")[0] if grader else None,
        "at_least": at_least,
        "tokens": tokens,
        "money": money,
        "words": words,
        "system": system,
        "temperature": temperature,
        "seed": seed,
    }
    with carrying.quiet(as_json), Progress() as progress:
        report = synthesizing.synthesize(
            source, out, values, test=test or [], fields=options.pairs(fields), runs=runs, listeners=[progress]
        )
    carrying.finish(report, as_json=as_json)
