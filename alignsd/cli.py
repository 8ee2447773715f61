"""The command ``alignsd``: run the notebooks, clean up, show the scorecard, collect choices."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from alignsd.base import commands, processes
from alignsd.base.errors import Problem, Stopped
from alignsd.base.paths import checked_run, figures_dir, run_dir, shown
from alignsd.kit import lineage
from alignsd.kit.surroundings import print_any_character, require_docstrings, whole_output
from alignsd.kit.values import parameters
from alignsd.kit.values.presets import default_run, resolve
from alignsd.planning import whole_plan
from alignsd.running import runner
from alignsd.running.company import how_to_go_on, joined
from alignsd.running.signals import Interrupted, handled, interrupt
from alignsd.running.tasks import Request, prepare

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Human Preference Score and Stable Diffusion aligned with it, notebook by notebook.",
)

# The options of `run`. Each option is a parameter of the function, so that typer knows the option.
Notebooks = Annotated[
    list[str] | None, typer.Argument(help="Numbers or names, such as 01 02; all if none.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="mini, class, smoke, small, paper, or a .yaml file of yours; mini if not given."
    ),
]
NewRun = Annotated[
    str | None, typer.Option("--run", help="Name of the run; the preset's if not given.")
]
Parent = Annotated[
    str | None,
    typer.Option("--from-run", help="Vary this run: read its stages, make only what changes."),
]
Start = Annotated[
    str | None, typer.Option("--from", help="Leave out the notebooks before this one.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A value: 05.steps=200, or seed=1 for all.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and every value, run nothing.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Empty the chosen stages' folders and run them again.")
]
Run = Annotated[str, typer.Option("--run", help="Name of the run.")]


@app.command()
def run(
    notebooks: Notebooks = None,
    preset: Preset = None,
    name: NewRun = None,
    parent: Parent = None,
    start: Start = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Run notebooks in order; finished notebooks are left alone."""
    for given in (name, parent):
        if given is not None:
            checked_run(given)  # an empty name, such as that of an unset variable, means no run
    if parent and name is None:
        raise _no_name_of_its_own(parent, settings or ())
    run_name = name or default_run("mini" if preset is None else preset)
    request = Request(
        run_name,
        preset,
        only=notebooks or (),
        start=start,
        settings=settings or (),
        force=force,
        parent=parent or "",
    )
    with joined() as company:
        plan = prepare(request)
        company.meet("planned")  # before the first process changes what the others look at
        if dry_run:
            if company.is_first:
                whole_plan.show(plan)
            return
        if company.is_first:
            whole_plan.carry_out(plan, company)
        else:
            whole_plan.follow(plan, company)
    if company.is_first:
        _tell_results(run_name)


def _tell_results(run_name: str) -> None:
    """Say where a run's results are, and print the scorecard."""
    print(f"\nExecuted notebooks: {shown(run_dir(run_name))}")
    print(f"Figures: {shown(figures_dir(run_name))}")
    if (run_dir(run_name) / "scorecard.json").exists():
        scorecard(run_name)


def _no_name_of_its_own(parent: str, settings: Sequence[str]) -> Problem:
    again = [f"alignsd run --run trial --from-run {parent}"]
    again += [f"--set {setting}" for setting in settings]
    return Problem(
        "A variation needs a name of its own.",
        expected="--run NAME --from-run RUN",
        found=f"--from-run {parent} alone",
        cause="without --run the results would go to another run's folder",
        fix=" ".join(again),
    )


@app.command()
def clean(
    name: Run,
    start: Annotated[
        str | None, typer.Option("--from", help="Keep the stages before this notebook.")
    ] = None,
) -> None:
    """Delete what the notebooks of a run left for each other."""
    deleted = 0
    for folder in runner.clean(name, start):
        print(f"deleted {shown(folder)}")
        deleted += 1
    if not deleted:
        print(f"nothing to delete: run {name} has no such stages")


@app.command()
def scorecard(name: Run = "mini") -> None:
    """Print a run's scorecard: each claim, the numbers in the paper and here, and the verdict."""
    from alignsd.compare.scorecard import read, table  # imports pandas

    variation = lineage.in_words(name)
    lineage.check_run(name)
    heading = f"Scorecard of run {name}" + (f" ({variation})" if variation else "")
    text = table(read(run_dir(name) / "scorecard.json"))
    text = text.replace("\u00a0", " ")  # a terminal that is ASCII only has no other space
    print(f"\n{heading}\n{text}")


FullSize = Annotated[str, typer.Option(help="A preset at full size.")]
Parts = Annotated[
    int,
    typer.Option(
        min=0,
        help="Parts of DiffusionDB to score; 0 counts those at hand, or else the paper's 1000.",
    ),
]
Pictures = Annotated[
    int, typer.Option(min=0, help="In place of parts: pictures to score, such as 14000000.")
]
Batch = Annotated[
    int,
    typer.Option(
        min=0, help="Images at a time while measuring; 0: as in the preset, on a CPU one."
    ),
]
Device = Annotated[str, typer.Option(help="A torch device; auto takes a GPU if there is one.")]


@app.command()
def cost(
    preset: FullSize = "paper",
    parts: Parts = 0,
    pictures: Pictures = 0,
    batch: Batch = 0,
    device: Device = "auto",
    with_10: Annotated[
        bool, typer.Option("--with-10", help="Count notebook 10 too, which a run leaves out.")
    ] = False,
) -> None:
    """Say what a preset would take, from full-size models of random weights on this machine.

    Nothing is downloaded.
    """
    from alignsd.planning import costs  # imports torch

    values, scored = _at_full_size(preset, parts, pictures)
    counted = [number for number in values if with_10 or number != "10"]
    measured = costs.measure(device, costs.batches(values, device, batch), counted)
    print(costs.report(values, scored, measured, counted))


@app.command()
def simulate(
    gpus: Annotated[
        str, typer.Option(help="Numbers of GPUs, such as 1,2,4,8,16,32,64.")
    ] = "1,2,4,8,16,32,64",
    preset: FullSize = "paper",
    parts: Parts = 0,
    pictures: Pictures = 0,
    batch: Batch = 0,
    device: Device = "auto",
    rates: Annotated[
        Path | None,
        typer.Option(help="JSON of seconds per unit, or a cost.json; measured if not given."),
    ] = None,
    rate: Annotated[
        list[str] | None, typer.Option(help="Seconds of a unit, such as embed=0.0032.")
    ] = None,
    price: Annotated[float, typer.Option(min=0, help="Of a GPU for an hour, any currency.")] = 0.0,
    gpus_per_node: Annotated[int, typer.Option(min=1, help="GPUs of one machine.")] = 8,
    cores_per_gpu: Annotated[
        float, typer.Option(help="Cores that read pictures for each GPU.")
    ] = 8.0,
    network: Annotated[
        float, typer.Option(help="GB per second into a node; inf: never limits.")
    ] = 1.25,
    figure: Annotated[Path | None, typer.Option(help="PNG of the speed-up to write.")] = None,
) -> None:
    """Simulate a run at full size on several GPUs, from the time of each unit of work.

    With --rates or --rate nothing is measured.
    """
    from alignsd.planning import costs  # imports torch
    from alignsd.planning import gpus as on_gpus
    from alignsd.planning.phases import given_rates
    from alignsd.planning.scaling import Cluster

    counts = on_gpus.numbers_of_gpus(gpus)
    values, scored = _at_full_size(preset, parts, pictures)
    known = given_rates(rates, rate or ())
    if not known:
        measured = costs.measure(device, costs.batches(values, device, batch), ())
        known = dict(zip(measured["task"], measured["seconds"], strict=True))
    cluster = Cluster(gpus_per_node, cores_per_gpu, network)
    print(on_gpus.report(values, scored, known, on_gpus.Simulation(counts, cluster, price, figure)))


def _at_full_size(preset: str, parts: int, pictures: int) -> tuple[dict[str, Any], int]:
    """Return the values of a preset by notebook number, and the parts to score.

    Raises:
        Problem: if the preset is not at full size.
    """
    from alignsd.planning import costs  # imports torch

    resolved = resolve(preset, preset)
    values = {notebook[:2]: own for notebook, own in resolved.items()}
    if not costs.is_full_size(values):
        raise Problem(
            f"Preset {preset!r} is not at full size.",
            expected="a preset with 05.resolution = 512",
            cause="another preset",
            found=f"{values['05']['resolution']}",
            fix="alignsd cost --preset paper; README tells what mini takes",
        )
    scored = parts or costs.parts_of(pictures)
    return values, scored or costs.parts_at(parameters.text(values["03"], "parts")) or costs.PARTS


@app.command()
def ablate(
    name: Annotated[str | None, typer.Argument(help="Such as rank; --list names all.")] = None,
    parent: Annotated[
        str, typer.Option("--from-run", help="The finished run whose values change.")
    ] = "mini",
    values: Annotated[
        str | None,
        typer.Option(help="Other values: 4,32, or a list in Python's notation, of text or pairs."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Print the settings and their minutes, run nothing.")
    ] = False,
) -> None:
    """Run a list of values as variations of a finished run; write a table and a figure.

    A value that is finished is not run again.
    """
    from alignsd.planning.ablation import command, definitions, settings  # import pandas

    checked_run(parent)
    if name is None:
        print(command.list_all(parent))
        return
    ablation = definitions.find(name)
    if values is not None:
        ablation = settings.with_values(ablation, values)
    if listed:
        print(command.describe(ablation, parent))
        return
    command.ablate(ablation, parent)


@app.command()
def fetch(
    to: Annotated[
        Path, typer.Option(help="Folder to write to, for notebook 03's parameter parts.")
    ],
    subset: Annotated[
        str, typer.Option(help="Such as large_first_1m, the paper's, or 2m_first_10k.")
    ] = "large_first_1m",
    parts: Annotated[str, typer.Option(help="Fewer of its parts: from-to, such as 2-31.")] = "",
    prompts_first: Annotated[
        bool,
        typer.Option(
            "--prompts-first", help="Fetch the table of prompts and leave out useless parts."
        ),
    ] = False,
    most: Annotated[
        int,
        typer.Option(
            min=0, help="With --prompts-first: so many parts, those with most prompts; 0: all."
        ),
    ] = 0,
    minimum: Annotated[
        int,
        typer.Option(min=1, help="With --prompts-first: images that a prompt needs (paper: 4)."),
    ] = 4,
    revision: Annotated[
        str, typer.Option(help="Branch or commit of the repository on the hub.")
    ] = "main",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would be fetched; the table of prompts is fetched."
        ),
    ] = False,
) -> None:
    """Fetch parts of DiffusionDB; parts that are present and whole are left alone."""
    from alignsd.select import fetch as diffusiondb  # imports pandas

    wanted = diffusiondb.choose(subset, parts)
    if prompts_first:
        metadata = diffusiondb.fetch_metadata(subset, to, revision)
        wanted, prompts = diffusiondb.parts_with_groups(metadata, wanted, minimum, most)
        print(
            f"{prompts:,} prompts have at least {minimum} images; they lie in {len(wanted):,} parts"
        )
    if not wanted:
        print("nothing to fetch")
        return
    first = diffusiondb.part_file(subset, wanted[0])
    last = diffusiondb.part_file(subset, wanted[-1])
    gib = len(wanted) * diffusiondb.PART_GIB[subset.split("_")[0]]
    print(f"{len(wanted):,} parts, {first} to {last}, about {gib:,.0f} GiB")
    if not dry_run:
        diffusiondb.fetch(subset, wanted, to, revision)


@app.command("import-choices")
def import_choices(
    table: Annotated[
        Path,
        typer.Argument(
            help="Columns prompt, images, choice: .csv, .tsv, .jsonl, .json or .parquet."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(help="Folder of the data set, for notebook 02's parameter data.")
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; the table's own if not given.")
    ] = None,
    test_share: Annotated[
        float, typer.Option(help="Share of the choices that go to the test part.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    count_from: Annotated[
        int | None,
        typer.Option(help="Number of a row's first image, 0 or 1, if choices are numbers."),
    ] = None,
) -> None:
    """Turn your own choices into a data set in the paper's layout."""
    from alignsd.collect import own_choices  # imports pandas

    cells = own_choices.read_choices_table(table)
    counts = own_choices.import_choices(
        cells, images or table.parent, out, test_share, seed, count_from
    )
    for what, count in counts.items():
        print(f"{count:,} {what}")


@app.command()
def rate(
    name: Run = "mini",
    deck: Annotated[
        str, typer.Option(help="choices, made by notebook 01, or study, made by notebook 07.")
    ] = "choices",
    folder: Annotated[
        Path | None, typer.Option(help="Your own pictures in place of a deck: a folder per prompt.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8765,
    host: Annotated[
        str, typer.Option(help="127.0.0.1: this machine alone; 0.0.0.0: its networks, too.")
    ] = "127.0.0.1",
    free: Annotated[
        str | None, typer.Option(help="Let another browser go on under this rater's name.")
    ] = None,
) -> None:
    """Serve a page on which people in a room choose pictures; Ctrl-C ends the page."""
    from alignsd.choose import classroom  # imports pandas

    if free is not None:
        of_deck = deck if folder is None else classroom.name_of_folder(folder)
        was_taken = classroom.free(name, of_deck, free)
        print(f"{free} is free now" if was_taken else f"nobody has the name {free}")
        return
    classroom.hold(classroom.open_rating(name, deck, folder), host, port)


@app.command(context_settings={"ignore_unknown_options": True})
def lab(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Passed on to JupyterLab, such as --no-browser --port 9999."),
    ] = None,
    fresh: Annotated[
        list[str] | None,
        typer.Option(help="A notebook whose copy is to be fresh; the old one is renamed."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Preset of the copies, such as class; if not given, the last one.")
    ] = "",
) -> None:
    """Open the notebooks in JupyterLab: working copies in lab/, which git ignores."""
    from alignsd.running.lab import start  # imports jupyter

    start(fresh or (), arguments or (), preset)


def main() -> None:
    """Run the command line: the entry point of the console script.

    Problems are explained in words and end with exit code 1. Signals end with exit code 128 plus
    the signal's number.
    """
    commands.remember_reader()
    print_any_character()
    try:
        require_docstrings()
        with handled(interrupt), whole_output():
            app()
    except (Problem, Stopped) as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
    except Interrupted as end:
        with suppress(OSError):  # the terminal may be gone
            if processes.is_first():  # Ctrl-C comes to all processes of a launch
                print(_how_to_go_on(end, sys.argv[1:]), file=sys.stderr)
        sys.exit(end.exit_code)


def _how_to_go_on(end: Interrupted, arguments: Sequence[str]) -> str:
    return f"Stopped by {end.name}. To go on: {how_to_go_on(arguments)}"
