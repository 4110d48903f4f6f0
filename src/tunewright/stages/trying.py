"""What later stages will need of the rows and the base, tried on them before anything is trained."""

from __future__ import annotations

from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages import figures, grading, tuned


def try_later_stages(recipe: Recipe, run: Run) -> None:
    """Find out now what evaluation or release would refuse after the training. Raises what they would."""
    _try_evaluation(recipe, run)
    for exporter in recipe.the_exporters():
        exporter.fits(tuned.start_options(recipe, run).base)


def _try_evaluation(recipe: Recipe, run: Run) -> None:
    """Let each grader grade one test row's own answer, and look for the rows and columns that `evaluate` names.

    A wrong column, path or function is told now rather than after the training. Raises what grading would.
    """
    objective = recipe.the_objective()
    test = [example for example in run.split("test") if example.prompt and objective.imitates(example)]
    if objective.figure is not None or not test:
        return
    goal = recipe.evaluate.goal
    for grader in recipe.the_graders():
        rows = (found for example in test if (found := grading.comparable(grader, example)) is not None)
        if (row := next(rows, None)) is not None:
            grader.try_on(row)
        elif goal is not None and grader.label in goal.graders:
            grading.refuse_idle([grader.label])
    training = run.split("train")
    for contestant in recipe.the_contestants():
        contestant.try_on(training)
    grading.clusters_of(recipe, test)
    figures.slices(recipe, test, [])
