"""cites: the answer names passages that it was given, and the one that holds the answer."""

from __future__ import annotations

from typing import ClassVar

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Grade, Grader


class Cites(Grader):
    """Share of the answer's citations that are among the passages given, times the share of the gold ones it cites.

    Needs rows with passages (`data.retrieval`). Where the passage that holds the answer was not given, or is not known,
    the second factor is 1, and an answer without citations is right: it claims nothing. Citations stand in brackets:
    [1], [1, 2]. After the citation precision and recall of Gao et al. 2023 (arXiv 2305.14627), with the known passage
    in place of an entailment model. Neighbours: `exact` and others compare the answer itself, without citations.
    """

    needs_expected: ClassVar[bool] = False

    def grade(self, example: Example, answer: str) -> Grade:
        """Precision times recall of the citations. Raises DataError for a row without passages."""
        from tunewright.data.grounding import citations

        given = example.meta.get("passages")
        if example.question is None or not isinstance(given, dict):
            raise DataError(
                f"Grader 'cites' has nothing to grade: row {example.id} has no passages. Give data.retrieval in the "
                "recipe, or leave the grader out."
            )
        cited = citations(answer)
        false = [name for name in cited if name not in given]
        wanted = [name for name, id in given.items() if id in example.meta.get("gold", ())]
        missed = [name for name in wanted if name not in cited]
        if not cited:
            return Grade(score=0.0, why="cites nothing") if wanted else Grade(score=1.0)
        precision = 1 - len(false) / len(cited)
        recall = 1 - len(missed) / len(wanted) if wanted else 1.0
        said = [f"{name} was not given" for name in false] + [f"{name} is missing" for name in missed]
        return Grade(score=precision * recall, why="; ".join(said))
