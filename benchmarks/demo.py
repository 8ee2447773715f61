"""A run as ``make demo`` makes it: this checkout against a git revision, notebook by notebook.

``python -m benchmarks.demo REVISION`` clones the repository at the revision into a temporary
folder. Each notebook runs in both checkouts, one after the other. Seconds are those of the whole
process, with the start of the kernel. At the end the verdicts of both scorecards are compared.
The two runs of preset mini take half an hour.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsd.base.folders import PACKAGE
from alignsd.kit.values.notebook_files import usual_names
from benchmarks.measure import Options, announced, options, save, seconds_of, table

ROOT = PACKAGE.parent
HERE, THERE = "this checkout", "revision"
RUN = "benchmark"
QUICK_NOTEBOOKS = ["00"]


@dataclass(frozen=True)
class Checkout:
    """A checkout of the kit, and where its runs are written.

    Attributes:
        folder: the repository.
        output: the folder for ``papermill_runs`` and ``figures``.
    """

    folder: Path
    output: Path

    def run(self, notebook: str, preset: str, seed: int) -> None:
        """Run one notebook.

        Raises:
            CalledProcessError: if the notebook fails.
        """
        command = [sys.executable, "-m", "alignsd", "run", notebook]
        command += ["--preset", preset, "--run", RUN, "--set", f"seed={seed}"]
        places = {"PYTHONPATH": str(self.folder), "ALIGNSD_OUTPUT": str(self.output)}
        environment = {name: value for name, value in os.environ.items() if name != "ALIGNSD_ROOT"}
        subprocess.run(
            command,
            cwd=self.folder,
            env=environment | places,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
        )

    def verdicts(self) -> dict[str, str]:
        """Return the verdict of each claim; nothing if there is no scorecard yet."""
        file = self.output / "papermill_runs" / RUN / "scorecard.json"
        if not file.exists():
            return {}
        return {claim["id"]: claim["verdict"] for claim in json.loads(file.read_text())}


def cloned(revision: str, folder: Path) -> str:
    """Clone the repository at a revision into a folder, and return the revision's full name."""
    git = ["git", "-C", str(folder)]
    copy = ["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)]
    subprocess.run(copy, check=True)
    name = _output(["git", "-C", str(ROOT), "rev-parse", "--verify", f"{revision}^{{commit}}"])
    subprocess.run([*git, "checkout", "--quiet", "--detach", name], check=True)
    return name


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def notebooks_of_a_run() -> list[str]:
    """Return the numbers of the notebooks that a run has when none is named, in order."""
    return [name[:2] for name in usual_names()]


def compared(
    checkouts: Mapping[str, Checkout], notebooks: Sequence[str], preset: str, seed: int
) -> list[dict[str, Any]]:
    """Run notebooks in both checkouts, and return a row per notebook, and a row for all.

    The checkouts take turns to be the first.
    """
    rows = []
    for number, notebook in enumerate(notebooks):
        order = list(checkouts) if number % 2 == 0 else list(checkouts)[::-1]
        seconds = {}
        for name in order:
            with announced(f"{notebook}, {name}"):
                seconds[name] = _seconds(checkouts[name], notebook, preset, seed)
        rows.append(_row(notebook, seconds))
    total = {name: sum(row[name] for row in rows) for name in checkouts}
    return [*rows, _row("all", total)]


def _seconds(checkout: Checkout, notebook: str, preset: str, seed: int) -> float:
    return seconds_of(lambda: checkout.run(notebook, preset, seed))


def _row(notebook: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    share = seconds[HERE] / seconds[THERE]
    return {"notebook": notebook, HERE: seconds[HERE], THERE: seconds[THERE], "share": share}


def claims(checkouts: Mapping[str, Checkout]) -> list[dict[str, Any]]:
    """Return a row per claim with the verdict of each checkout, None where the claim is unknown."""
    verdicts = {name: checkout.verdicts() for name, checkout in checkouts.items()}
    known = dict.fromkeys([*verdicts[HERE], *verdicts[THERE]])
    return [
        {"claim": claim, **{name: verdicts[name].get(claim) for name in verdicts}}
        for claim in known
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all notebooks twice, print the tables, and write the results."""
    given = options(__doc__, arguments, _add_options)
    with tempfile.TemporaryDirectory(prefix="alignsd-benchmark-") as temporary:
        folder = Path(temporary)
        revision = cloned(given.others.revision, folder / "revision")
        checkouts = {
            HERE: Checkout(ROOT, folder / "runs here"),
            THERE: Checkout(folder / "revision", folder / "runs there"),
        }
        rows, verdicts = _measured(checkouts, given)
    name = "demo" if given.others.seed == 0 else f"demo_seed{given.others.seed}"
    about = {"revision": revision, "claims": verdicts, "seed": given.others.seed}
    save(name, rows, given.folder, aim=0.6, preset=_preset(given), **about)


def _measured(
    checkouts: Mapping[str, Checkout], given: Options
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run and print; return the rows of the notebooks and of the claims."""
    notebooks = QUICK_NOTEBOOKS if given.quick else notebooks_of_a_run()
    rows = compared(checkouts, notebooks, _preset(given), given.others.seed)
    print(table(rows))
    verdicts = claims(checkouts)
    if verdicts:
        print(table(verdicts))
        changed = [row["claim"] for row in verdicts if row[HERE] != row[THERE]]
        print(f"verdicts that changed: {', '.join(changed) or 'none'}")
    return rows, verdicts


def _preset(given: Options) -> str:
    return "smoke" if given.quick else given.others.preset


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("revision", help="git revision to compare with, such as a commit")
    parser.add_argument("--preset", default="mini", help="preset of both runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of both runs")


if __name__ == "__main__":
    main()
