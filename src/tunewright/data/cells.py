"""Cells of a table that a spreadsheet would take for a formula: written with an apostrophe before them, read without.

The apostrophe is what spreadsheets themselves take for "this is text" (OWASP, CSV Injection).
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def escaped(cell: str) -> str:
    """A cell that no spreadsheet computes."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def plain(cell: str) -> str:
    """What `escaped` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
