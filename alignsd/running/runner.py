"""Carry out a plan: run each notebook into an executed copy and a record of the execution."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignsd.base import processes
from alignsd.base.atomic import remove_folder, sweep, write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import figures_dir, prepared_dir, run_dir, shown, stage_dir
from alignsd.base.progress import FILE, read_work, work_file
from alignsd.kit import lineage, locks, variations
from alignsd.kit.provenance import code_sha256, package_sha256, source_sha256, versions
from alignsd.kit.records import read_record, record_path
from alignsd.kit.stage import HEADLESS
from alignsd.kit.stage_record import input_state, read_metrics
from alignsd.kit.values.notebook_files import notebook_path
from alignsd.running.company import Company
from alignsd.running.tasks import Plan, Task, chosen


def note(plan: Plan) -> None:
    """Write the run's ``run.json`` before the first notebook runs.

    A stopped run then goes on with the same values.
    """
    variations.note_run(plan.run, plan.preset, plan.parent, plan.settings)


def carry_out(task: Task, company: Company | None = None) -> None:
    """Run a notebook; the record and the executed copy lie in the run's folder afterwards.

    Where several runners execute the notebook, the first makes room and writes. The executed copies
    of the others are not kept.

    Args:
        task: the notebook and the values of the notebook's parameters.
        company: the runners that execute the notebook together; None for this runner alone.

    Raises:
        Stopped: if the notebook did not reach the end; the copy so far is kept as
            ``<name>.failed.ipynb``.
        Problem: if the notebook ended without ``stage.finish(...)``, or another process is at work
            in the run or in the notebook's stage.
        Interrupted: if a signal asked the program to end.
    """
    company = company or Company()
    if company.is_first:
        with locks.hold(locks.run_lock(task.run), f"alignsd run --run {task.run}"):
            _carry_out(task, company)
    else:
        company.meet(f"begin {task.name}")
        _execute_beside(task, company)
        company.meet(f"end {task.name}")


def _carry_out(task: Task, company: Company) -> None:
    _make_room(task)
    company.meet(f"begin {task.name}")
    started = datetime.now(UTC)
    clock = time.monotonic()
    package = package_sha256()  # before the notebook runs: the package may be edited meanwhile
    bars = work_file(task.run)
    bars.unlink(missing_ok=True)
    _execute(task, bars, company)
    result = stage_dir(task.run, task.name) / "metrics.json"
    if not result.exists():
        raise Problem(
            f"{task.name} ended without a result.",
            expected=shown(result),
            found="no such file",
            cause="the notebook's last code cell does not finish its stage",
            fix="end the notebook with stage.finish({...})",
        )
    source = notebook_path(task.name)
    record = {
        "notebook": task.name,
        "source_sha256": source_sha256(source),
        "code_sha256": code_sha256(source),
        "package_sha256": package,
        "preset": task.preset,
        "parameters": task.values,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "versions": versions(),
        "peak_memory_mib": read_metrics(task.run, task.name)["peak_memory_mib"],
        "state": input_state(task.run, task.name),
        "work": {bar.what: round(bar.seconds, 1) for bar in read_work(bars)},
    }
    bars.unlink(missing_ok=True)
    write_json(record_path(task.run, task.name), record)
    for copy in run_dir(task.run).glob(f"{task.name}.process*.failed.ipynb"):
        copy.unlink(missing_ok=True)
    company.meet(f"end {task.name}")


def _make_room(task: Task) -> None:
    """Delete the files of an earlier attempt that the new attempt must not find.

    Raises:
        Problem: if another process has the stage open.
    """
    folder = stage_dir(task.run, task.name)
    writer = f"alignsd run --run {task.run}, notebook {task.name[:2]}"
    with locks.hold(locks.stage_lock(task.run, task.name), writer):
        if task.decision.afresh and folder.exists():
            remove_folder(folder)
        # Until the notebook is finished again, so that a failure is not taken for a result.
        (folder / "metrics.json").unlink(missing_ok=True)
        sweep(folder)
        sweep(run_dir(task.run), deep=False)
        sweep(figures_dir(task.run))


def _execute(task: Task, bars: Path, company: Company) -> None:
    """Execute a task's notebook; the kernel writes the progress of its bars into ``bars``."""
    from alignsd.running.execution import execute  # takes seconds: not for a plan

    source = notebook_path(task.name)
    environment = {FILE: str(bars), HEADLESS: "1"} | company.kernel_variables(task.name)
    try:
        execute(source, run_dir(task.run) / source.name, _changed(task), environment)
    except BaseException:
        # A killed kernel leaves temporary files.
        sweep(stage_dir(task.run, task.name))
        raise


def _execute_beside(task: Task, company: Company) -> None:
    """Execute a task's notebook beside the first process, which keeps the executed copy.

    A copy that shows an error of this process is kept, too.
    """
    from alignsd.running.execution import execute  # takes seconds: not for a plan
    from alignsd.running.kernels.environment import temporary_folder

    source = notebook_path(task.name)
    environment = {HEADLESS: "1"} | company.kernel_variables(task.name)
    failed = run_dir(task.run) / f"{task.name}.process{processes.number()}.failed.ipynb"
    with temporary_folder() as folder:
        execute(source, folder / source.name, _changed(task), environment, failed)


def _changed(task: Task) -> dict[str, Any]:
    """Return the values of a task that are not the notebook's own."""
    changed = {}
    for name, value in task.values.items():
        if value != task.offered[name].default:
            changed[name] = value
    return changed


def leave(task: Task) -> None:
    """Bring the prose of a finished notebook's executed copy up to date with the source.

    The code of both is the same. A stage that the run inherits has no executed copy here.
    """
    from alignsd.running.publishing import refresh_prose  # takes seconds: not for a plan

    if task.decision.inherited:
        return
    source = notebook_path(task.name)
    record = read_record(task.run, task.name)
    digest = source_sha256(source)
    if record is not None and record.get("source_sha256") != digest:
        refresh_prose(source, run_dir(task.run) / source.name)
        write_json(record_path(task.run, task.name), record | {"source_sha256": digest})


def clean(run: str, start: str | None = None) -> Iterator[Path]:
    """Delete the stages of a run from notebook ``start`` on and yield the deleted folders.

    Without ``start``, what ablations made from the run goes too; ``alignsd ablate`` makes it again.
    The executed copies, the records and the figures stay until the next run.

    Raises:
        Problem: for an unknown notebook, for a run that does not exist, or if another process is at
            work in the run or in a stage.
    """
    lineage.check_run(run)
    writer = f"alignsd clean --run {run}"
    with locks.hold(locks.run_lock(run), writer):
        for name in chosen((), start):
            folder = stage_dir(run, name)
            if not folder.exists():
                continue
            with locks.hold(locks.stage_lock(run, name), writer):
                remove_folder(folder)
            yield folder
        if start is None and prepared_dir(run).exists():
            remove_folder(prepared_dir(run))
            yield prepared_dir(run)
