"""The command ``alignsd``: run the notebooks, clean up, show the scorecard."""

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from alignsd import locks, parameters, runner
from alignsd.errors import Problem, Stopped
from alignsd.paths import figures_dir, run_dir, shown
from alignsd.progress import Progress, clock, work_file
from alignsd.records import expected_seconds, known_work
from alignsd.signals import Interrupted, handled, interrupt

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Human Preference Score and Stable Diffusion aligned with it, notebook by notebook.")


@app.command()
def run(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Numbers or names, such as 01 02; all if none.")] = None,
    preset: Annotated[str, typer.Option(help="mini, smoke, small, paper, or a .yaml file of yours.")] = "mini",
    name: Annotated[str | None, typer.Option("--run", help="Name of the run; the preset's if not given.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Leave out the notebooks before this one.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A value: 05.steps=200, or seed=1 for all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and every value, run nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Empty the chosen stages' folders and run them again.")] = False,
) -> None:
    """Run notebooks in order; finished ones are left alone."""
    run_name = name or preset.rsplit("/", 1)[-1].removesuffix(".yaml")
    tasks = runner.plan(preset, run_name, notebooks or (), start, settings or (), force)
    if dry_run:
        return _show(tasks)
    with _only_writer(tasks):
        if any(task.todo for task in tasks):
            _look_ahead(run_name, _values_by_number(preset, run_name, settings or ()), [task.name[:2] for task in tasks if task.todo])
        _carry_out(tasks, expected_seconds(preset, run_name), known_work(preset, run_name))
    print(f"\nExecuted notebooks: {shown(run_dir(run_name))}\nFigures: {shown(figures_dir(run_name))}")
    if (run_dir(run_name) / "scorecard.json").exists():
        scorecard(run_name)


@app.command()
def clean(
    name: Annotated[str, typer.Option("--run", help="Name of the run.")],
    start: Annotated[str | None, typer.Option("--from", help="Keep the stages before this notebook.")] = None,
) -> None:
    """Delete what the notebooks of a run left for each other."""
    for folder in runner.clean(name, start):
        print(f"deleted {shown(folder)}")


@app.command()
def scorecard(name: Annotated[str, typer.Option("--run", help="Name of the run.")] = "mini") -> None:
    """Print a run's scorecard: each claim of the paper, its number there and here, and the verdict."""
    from alignsd.scorecard import read, table  # imports pandas

    print(f"\nScorecard of run {name}\n{table(read(run_dir(name) / 'scorecard.json'))}")


@app.command()
def cost(
    preset: Annotated[str, typer.Option(help="A preset at full size.")] = "paper",
    parts: Annotated[int, typer.Option(min=0, help="Parts of DiffusionDB to score; 0 counts those at hand, or else the paper's 1000.")] = 0,
    batch: Annotated[int, typer.Option(min=0, help="Images at a time while measuring; 0: as in the preset, on a CPU one.")] = 0,
    device: Annotated[str, typer.Option(help="A torch device; auto takes a GPU if there is one.")] = "auto",
) -> None:
    """Measure this machine with full-size models of random weights and say what a preset would take; nothing is downloaded."""
    from alignsd import costs, throughput  # import torch

    values = _values_by_number(preset, preset, ())
    if not costs.is_full_size(values):
        raise Problem(f"Preset {preset!r} is not at full size.", expected="a preset with 05.resolution = 512", cause="another preset",
                      found=f"{values['05']['resolution']}", fix="alignsd cost --preset paper; README tells what mini takes")
    measured = throughput.measure(device, costs.batches(values, device, batch))
    print(costs.report(values, parts or costs.parts_at(values["03"]["parts"]) or costs.PARTS, measured, values))


@app.command()
def fetch(
    to: Annotated[Path, typer.Option(help="Folder to write to, for notebook 03's parameter parts.")],
    subset: Annotated[str, typer.Option(help="Such as large_first_1m, the paper's, or 2m_first_10k.")] = "large_first_1m",
    parts: Annotated[str, typer.Option(help="Fewer of its parts: from-to, such as 2-31.")] = "",
    prompts_first: Annotated[bool, typer.Option("--prompts-first", help="Fetch the table of prompts and leave out useless parts.")] = False,
    most: Annotated[int, typer.Option(min=0, help="With --prompts-first: so many parts, those with most prompts; 0: all.")] = 0,
    minimum: Annotated[int, typer.Option(min=1, help="With --prompts-first: images that a prompt needs (paper: 4).")] = 4,
    revision: Annotated[str, typer.Option(help="Branch or commit of the repository on the hub.")] = "main",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched; the table of prompts is fetched.")] = False,
) -> None:
    """Fetch parts of DiffusionDB; what is there whole is left alone."""
    from alignsd import diffusiondb_fetch as db  # imports pandas

    wanted = db.choose(subset, parts)
    if prompts_first:
        wanted, prompts = db.parts_with_groups(db.fetch_metadata(subset, to, revision), wanted, minimum, most)
        print(f"{prompts:,} prompts have at least {minimum} images; they lie in {len(wanted):,} parts")
    if not wanted:
        return print("nothing to fetch")
    print(f"{len(wanted):,} parts, {db.part_file(subset, wanted[0])} to {db.part_file(subset, wanted[-1])}, "
          f"about {len(wanted) * db.PART_GIB[subset.split('_')[0]]:,.0f} GiB")
    if not dry_run:
        db.fetch(subset, wanted, to, revision)


@app.command("import-choices")
def import_choices(
    table: Annotated[Path, typer.Argument(help="Columns prompt, images, choice: .csv, .jsonl or .parquet.")],
    out: Annotated[Path, typer.Argument(help="Folder of the data set, for notebook 02's parameter data.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the images; the table's own if not given.")] = None,
    test_share: Annotated[float, typer.Option(help="Share of the choices that go to the test part.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
) -> None:
    """Turn your own choices into a data set in the paper's layout."""
    from alignsd import own_choices  # imports pandas

    counts = own_choices.import_choices(own_choices.read_table(table), images or table.parent, out, test_share, seed)
    for what, count in counts.items():
        print(f"{count:,} {what}")


def main() -> None:
    """Run the command line: the entry point of the console script.

    Problems are told in words and end with exit code 1; signals end with 128 and their number.
    """
    try:
        with handled(interrupt):
            app()
    except (Problem, Stopped) as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
    except Interrupted as end:
        with suppress(OSError):  # the terminal may be gone
            print(_how_to_go_on(end, sys.argv[1:]), file=sys.stderr)
        sys.exit(end.exit_code)


def _how_to_go_on(end: Interrupted, arguments: Sequence[str]) -> str:
    again = [argument for argument in arguments if argument != "--force"]  # it would start anew
    return f"Stopped by {end.name}. To go on: {shlex.join(['alignsd', *again])}"


def _look_ahead(run_name: str, values: dict[str, dict[str, parameters.Value]], todo: Sequence[str]) -> None:
    """Says before notebooks run what they need that this machine lacks and, at full size, what they will take."""
    from alignsd import costs, environment  # import torch

    needs, full_size = values["00"], costs.is_full_size(values)
    on_device = [number for number in todo if number in costs.ON_DEVICE]
    disk = costs.still_to_write(values, todo, run_name) if full_size else needs["disk"] - costs.held(run_dir(run_name))
    environment.require(environment.check_environment(needs["memory"], round(max(disk, 0.0), 1), needs["gpu_memory"] if on_device else 0))
    if full_size and on_device:
        print(costs.before_a_run(values, values[on_device[0]]["device"], run_dir(run_name) / "cost.json", todo))


def _values_by_number(preset: str, run_name: str, settings: Sequence[str]) -> dict[str, dict[str, parameters.Value]]:
    return {name[:2]: values for name, values in parameters.resolve(preset, run_name, settings).items()}


@contextmanager
def _only_writer(tasks: Sequence[runner.Task]) -> Iterator[None]:
    """Keep other processes from writing in the run of a plan while the block runs."""
    if not any(task.todo for task in tasks):  # a finished run may lie in a read-only folder
        yield
        return
    run_name = tasks[0].run
    with locks.hold(locks.run_lock(run_name), f"alignsd run --run {run_name}"):
        yield


def _carry_out(
    tasks: list[runner.Task],
    expected: dict[str, float],
    known: dict[str, dict[str, float]],
) -> None:
    """Carry out the tasks of a plan and print how far the run is."""
    run_name = tasks[0].run
    names = [task.name for task in tasks]
    todo = [task.name for task in tasks if task.todo]
    progress = Progress(names, todo, expected, known, work_file(run_name))
    started = time.monotonic()
    print(f"run {run_name}, preset {tasks[0].preset}", flush=True)
    for task in tasks:
        if not task.todo:
            runner.leave(task)
            progress.skip(task.name, task.reason)
            continue
        with progress.running(task.name):
            runner.carry_out(task)
    print(f"all done in {clock(time.monotonic() - started)}")


def _show(tasks: list[runner.Task]) -> None:
    for task in tasks:
        print(f"{task.name}: {'runs' if task.todo else 'left alone'} ({task.reason})")
        for parameter in parameters.read_parameters(parameters.notebook_path(task.name)).values():
            value = task.values[parameter.name]
            mark = " " if value == parameter.default else "*"
            print(f"  {mark} {parameter.name} = {value!r}  # {parameter.meaning}")
    print("* differs from the notebook's own value")
