"""Data sets with fewer training choices, or with wrong picks among them, for an ablation.

Such a data set is a folder in the layout of HPD v1, which notebook 02 takes as ``data``. Its test
choices and pictures are those of the run that is varied.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.atomic import made, write_json
from alignsd.base.errors import Problem, check_shares
from alignsd.base.paths import root, run_dir, stage_dir, user_path
from alignsd.base.reading import read_json
from alignsd.kit import lineage
from alignsd.reward.fewer_or_wrong import fewer, with_wrong_picks

FEWER = "choices"  # number of training choices
WRONG = "wrong picks"  # share of the training choices
TRAIN_FILES = ("preference_train.json", "preference_train_grouped.json")
KEPT_FILES = ("preference_test.json", "preference_test_grouped.json", "provenance.parquet")
PICTURES = "preference_images"
COLLECT = "01_collect_preferences"
Change = Callable[[pd.DataFrame], pd.DataFrame]


def own_amount(kind: str, source: Path) -> float:
    """Return the amount that an unchanged data set has: all its choices, or no wrong picks.

    Args:
        kind: ``FEWER`` or ``WRONG``.
        source: from ``source_of``.

    Raises:
        Problem: if the data set is not in the layout of HPD v1.
    """
    return len(_training_choices(source / TRAIN_FILES[0])) if kind == FEWER else 0


def checked(kind: str, amount: Any, source: Path) -> float:
    """Return an amount that the data set can have.

    Raises:
        Problem: if the amount is no number, or out of range.
    """
    is_number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
    if not is_number or (kind == FEWER and not isinstance(amount, int)):
        raise Problem(
            f"{amount!r:.60} is no amount of {kind}.",
            expected="a whole number of choices" if kind == FEWER else "a share, 0 to 1",
            found=f"a {type(amount).__name__}",
            cause="a slip in --values",
            fix="alignsd ablate choices --values 100,300"
            if kind == FEWER
            else "alignsd ablate labels --values 0.1,0.3",
        )
    if kind == WRONG:
        check_shares(values=amount)
        return amount
    if not 1 <= amount <= own_amount(kind, source):
        raise Problem(
            "There are not so many choices to train on.",
            expected=f"1 to {own_amount(kind, source):,} choices",
            found=f"{amount:,}",
            cause="a number for another data set",
            fix="alignsd ablate choices --values 100,300",
        )
    return amount


def source_of(parent: str, data: str) -> Path:
    """Return the data set that a run was trained on.

    Args:
        parent: the run.
        data: the run's parameter ``data`` in notebook 02; empty for what notebook 01 collected.
    """
    if data:
        return user_path(data)
    return stage_dir(lineage.holder(parent, COLLECT), COLLECT) / "hpd"


def folder(kind: str, amount: float, parent: str) -> Path:
    """Return where the data set with so many choices, or such a share of wrong picks, lies."""
    return run_dir(parent) / "ablations" / f"{kind.replace(' ', '-')}-{amount:g}"


def as_value(path: Path) -> str:
    """Return a folder as the value of the parameter ``data``."""
    inside = path.resolve().is_relative_to(root().resolve())
    return path.resolve().relative_to(root().resolve()).as_posix() if inside else str(path)


def write(kind: str, amount: float, source: Path, target: Path, seed: int) -> None:
    """Write a data set with changed training choices; a finished data set is not written again.

    The pictures are not copied where the disk can link to them.

    Args:
        kind: ``FEWER`` or ``WRONG``.
        amount: how many choices are left, or the share of the choices that become wrong.
        source: from ``source_of``.
        target: from ``folder``.
        seed: which choices are left, or become wrong.
    """
    if (target / TRAIN_FILES[0]).exists():
        return

    def change(choices: pd.DataFrame) -> pd.DataFrame:
        if kind == FEWER:
            return fewer(choices, min(int(amount), len(choices)), seed)
        return with_wrong_picks(choices, amount, seed)

    made(target)
    _link(source / PICTURES, target / PICTURES)
    truth = source.parent / "export/truth.parquet"  # of simulated people
    for file in (*(source / name for name in KEPT_FILES), source / truth.name, truth):
        if file.exists():
            shutil.copy2(file, target / file.name)
    for name in reversed(TRAIN_FILES):  # the file that says the data set is finished comes last
        if (source / name).exists():
            changed = change(_training_choices(source / name))
            write_json(target / name, changed.to_dict("records"))


def _training_choices(file: Path) -> pd.DataFrame:
    """Return the rows of a file of HPD v1."""
    rows = read_json(file)
    keys = {"file_path", "human_preference"}
    is_v1 = isinstance(rows, list) and all(isinstance(r, dict) and keys <= set(r) for r in rows)
    if not is_v1 or not all(isinstance(row["human_preference"], int) for row in rows):
        raise Problem(
            f"{file.name} is not in the layout of HPD v1.",
            expected="a list of choices with file_path and human_preference, a whole number",
            found="another layout, such as that of HPD v2",
            cause="the ablations of choices and labels change files of HPD v1",
            fix="vary a run whose notebook 02 has data = '' or a folder of HPD v1",
        )
    return pd.DataFrame(rows)


def _link(source: Path, target: Path) -> None:
    """Make a folder that shows what another folder holds: a link, or a copy without links."""
    if target.exists():
        return
    try:
        target.symlink_to(source.resolve(), target_is_directory=True)
    except OSError:  # Windows without the right to make links, or a disk without links
        shutil.copytree(source, target)
