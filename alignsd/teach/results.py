"""Read what a run has finished, as the notebooks with solutions do. Nothing is written."""

from pathlib import Path

from alignsd.base.errors import Problem
from alignsd.base.paths import shown, stage_dir
from alignsd.kit import lineage
from alignsd.kit.records import preset_of
from alignsd.kit.stage_record import is_finished
from alignsd.kit.values.notebook_files import notebook_names


def of(run: str, stage: str, *parts: str) -> Path:
    """Return a file or folder that a finished stage of a run left.

    The stage belongs to this run, or to the run that this run varies.

    Args:
        run: the run's name, such as ``"mini"``.
        stage: the notebook's name, such as ``"02_train_hps"``.
        parts: path in the stage's folder.

    Raises:
        Problem: if there is no such run, the stage is not finished, or the file is missing.
    """
    lineage.check_run(run)
    holder = lineage.holder(run, stage)
    folder = stage_dir(holder, stage)
    path = folder.joinpath(*parts)
    if not is_finished(holder, stage):
        raise _unfinished(holder, stage)
    if path.exists():
        return path
    raise Problem(
        f"{shown(path)} is not there to be read.",
        expected="a file or folder that the notebook leaves",
        found="no such file or folder, although the stage is finished",
        cause="the file was deleted, or another version of the notebook made the stage",
        fix=f"{_command(holder)} --force {stage[:2]}",
        notebook=stage,
    )


def _unfinished(run: str, stage: str) -> Problem:
    """Return the error for a stage that is missing; the command makes what comes before as well."""
    needed = [name[:2] for name in notebook_names() if name <= stage]
    return Problem(
        f"Stage {stage} of run {run} is not finished.",
        expected=shown(stage_dir(run, stage)),
        found="no results",
        cause=f"notebook {stage[:2]} has not run to its end in this run",
        fix=f"{_command(run)} {' '.join(needed)}",
        notebook=stage,
    )


def _command(run: str) -> str:
    return f"alignsd run --preset {preset_of(run)} --run {run}"
