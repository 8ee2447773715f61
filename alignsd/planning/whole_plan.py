"""Carry out a whole plan, notebook by notebook, and say how far the run is."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from alignsd.base import commands
from alignsd.base.progress import clock, work_file
from alignsd.kit import lineage, locks
from alignsd.kit.records import expected_seconds, known_work
from alignsd.running import runner
from alignsd.running.company import Company
from alignsd.running.forecast import EarlierRun, Forecast
from alignsd.running.status_line import StatusLine
from alignsd.running.tasks import Plan


def carry_out(plan: Plan, company: Company) -> None:
    """Look ahead, run the notebooks of a plan that are to be run, and print how far the run is.

    While the plan is carried out, no other process can write in the run.

    Args:
        plan: from ``tasks.prepare``.
        company: the runners of this launch, of which this runner is the first.

    Raises:
        Problem: if this machine lacks something, another process is at work in the run, or a
            notebook ended without a result.
        Stopped: if a notebook did not reach the end.
    """
    with _only_writer(plan):
        todo = [task.name[:2] for task in plan.tasks if task.todo]
        if todo:
            _look_ahead(plan, todo)
        _run_notebooks(plan, company)


def follow(plan: Plan, company: Company) -> None:
    """Carry out a plan beside the first process, which prints and writes."""
    for task in plan.tasks:
        if task.todo:
            runner.carry_out(task, company)


def show(plan: Plan) -> None:
    """Print what a plan would do, and every value."""
    if plan.parent:
        changes = ", ".join(plan.settings) or "nothing yet"
        print(f"run {plan.run} varies run {plan.parent}; changed: {changes}")
        _tell_of_empty_parent(plan)
    for task in plan.tasks:
        print(f"{task.name}: {'runs' if task.todo else 'left alone'} ({task.reason})")
        for parameter in task.offered.values():
            value = task.values[parameter.name]
            mark = " " if value == parameter.default else "*"
            print(f"  {mark} {parameter.name} = {value!r}  # {parameter.meaning}")
    print("* differs from the notebook's own value")


def _look_ahead(plan: Plan, todo: Sequence[str]) -> None:
    """Say what this machine lacks for the notebooks to run, and what the notebooks will take."""
    from alignsd.planning.look_ahead import look_ahead  # imports torch

    values = {notebook[:2]: own for notebook, own in plan.values.items()}
    look_ahead(plan.run, values, todo)


@contextmanager
def _only_writer(plan: Plan) -> Iterator[None]:
    """Keep other processes from writing in the run of a plan while the block runs."""
    nothing_to_run = not any(task.todo for task in plan.tasks)
    if nothing_to_run and plan.parent == lineage.parent_of(plan.run):
        yield  # nothing is written: a finished run may lie in a read-only folder
        return
    with locks.hold(locks.run_lock(plan.run), f"alignsd run --run {plan.run}"):
        runner.note(plan)
        yield


def _run_notebooks(plan: Plan, company: Company) -> None:
    """Run the notebooks of a plan, and print how far the run is."""
    names = [task.name for task in plan.tasks]
    todo = [task.name for task in plan.tasks if task.todo]
    seconds = expected_seconds(plan.preset, plan.run)
    earlier = EarlierRun(seconds, known_work(plan.preset, plan.run))
    status = StatusLine(names, Forecast(todo, earlier), work_file(plan.run))
    started = time.monotonic()
    print(f"run {plan.run}, preset {plan.preset}", flush=True)
    _tell_of_empty_parent(plan)
    for task in plan.tasks:
        if not task.todo:
            runner.leave(task)
            status.skip(task.name, task.reason)
            continue
        with status.running(task.name):
            runner.carry_out(task, company)
    print(f"all done in {clock(time.monotonic() - started)}")


def _tell_of_empty_parent(plan: Plan) -> None:
    """Say that a variation has nothing to read, as in a fresh clone, which holds no stages."""
    ancestors = lineage.lineage(plan.run, plan.parent)[1:]
    if not ancestors or any(lineage.finished_stages(ancestor) for ancestor in ancestors):
        return
    command = commands.pasteable(f"alignsd run --run {plan.parent}")
    print(
        f"run {plan.parent} has no stages on this machine, "
        f"so run {plan.run} makes all stages itself."
    )
    print(
        f"To make the stages of run {plan.parent} once, for all its variations: {command}",
        flush=True,
    )
