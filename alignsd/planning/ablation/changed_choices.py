"""Data sets with fewer training choices, or with wrong picks among them, for an ablation.

Such a data set is a folder in the layout of HPD v1, which notebook 02 takes as ``data``. Its test
choices and pictures are those of the run that is varied.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alignsd.base.atomic import made, write_json
from alignsd.base.errors import Problem
from alignsd.base.paths import stage_dir, user_path
from alignsd.base.reading import read_json
from alignsd.kit import lineage
from alignsd.kit.provenance import file_sha256
from alignsd.kit.schemas import COLLECT
from alignsd.kit.values.parameters import Value, text, whole
from alignsd.planning.ablation import prepared
from alignsd.reward.fewer_or_wrong import fewer, with_wrong_picks

FEWER = "choices"  # number of training choices
WRONG = "wrong picks"  # share of the training choices
TRAIN_FILES = ("preference_train.json", "preference_train_grouped.json")
KEPT_FILES = ("preference_test.json", "preference_test_grouped.json", "provenance.parquet")
PICTURES = "preference_images"


@dataclass(frozen=True)
class ChangedChoices:
    """Data sets that differ from that of a run.

    Attributes:
        kind: ``FEWER``: so many choices are left; or ``WRONG``: such a share becomes wrong.
        parent: the run that is varied.
        values: the parent's values, by notebook number.
    """

    kind: str
    parent: str
    values: Mapping[str, Mapping[str, Value]]

    @property
    def source(self) -> Path:
        """The data set that the run was trained on."""
        data = text(self.values["02"], "data")
        if data:
            return user_path(data)
        return stage_dir(lineage.holder(self.parent, COLLECT), COLLECT) / "hpd"

    def own_amount(self) -> float:
        """Return the amount that the run itself has: all choices, or no wrong picks.

        Raises:
            Problem: if the data set is not in the layout of HPD v1.
        """
        return len(_choices(self.source / TRAIN_FILES[0])) if self.kind == FEWER else 0

    def checked(self, amount: Any) -> float:
        """Return an amount that the data set can have.

        Raises:
            Problem: if the amount is no number, or out of range.
        """
        is_number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
        if not is_number or (self.kind == FEWER and not isinstance(amount, int)):
            raise self._no_amount(amount)
        if self.kind == WRONG:
            if not 0 <= amount <= 1:
                raise self._no_amount(amount)
        elif not 1 <= amount <= self.own_amount():
            raise Problem(
                "There are not so many choices to train on.",
                expected=f"1 to {self.own_amount():,} choices",
                found=f"{amount:,}",
                cause="a number for another data set",
                fix="alignsd ablate choices --values 100,300",
            )
        return amount

    def changes(self, amount: float) -> dict[str, Value]:
        """Return the values of notebook 02 that change."""
        return {"data": prepared.as_value(self.folder(amount))}

    def folder(self, amount: float) -> Path:
        """Return where the changed data set lies."""
        return prepared.folder(self.parent, f"{self.kind.replace(' ', '-')}-{amount:g}")

    def write(self, amount: float) -> None:
        """Write the changed data set; a finished data set is not written again.

        The pictures are not copied where the disk can link to them.
        """
        source, target = self.source, self.folder(amount)
        made_from: dict[str, Any] = {"kind": self.kind, "amount": amount, "seed": self._seed}
        made_from["source"] = {
            name: file_sha256(source / name) for name in TRAIN_FILES if (source / name).exists()
        }
        if prepared.is_made(target, made_from):
            return
        made(target)
        _link(source / PICTURES, target / PICTURES)
        truth = source.parent / "export/truth.parquet"  # of simulated people
        for file in (*(source / name for name in KEPT_FILES), source / truth.name, truth):
            if file.exists():
                shutil.copy2(file, target / file.name)
        for name in made_from["source"]:
            changed = self._changed(_choices(source / name), amount)
            write_json(target / name, changed.to_dict("records"))
        prepared.finish(target, made_from)

    @property
    def _seed(self) -> int:
        return whole(self.values["02"], "seed")

    def _changed(self, choices: pd.DataFrame, amount: float) -> pd.DataFrame:
        if self.kind == FEWER:
            return fewer(choices, min(int(amount), len(choices)), self._seed)
        return with_wrong_picks(choices, amount, self._seed)

    def _no_amount(self, amount: object) -> Problem:
        of_choices = self.kind == FEWER
        example = "choices --values 100,300" if of_choices else "labels --values 0.1,0.3"
        return Problem(
            f"{amount!r:.60} is no amount of {self.kind}.",
            expected="a whole number of choices" if of_choices else "a share, 0 to 1",
            found=f"{amount!r:.60}",
            cause="a slip in --values",
            fix=f"alignsd ablate {example}",
        )


def _choices(file: Path) -> pd.DataFrame:
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
