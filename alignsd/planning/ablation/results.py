"""Read off what the settings of an ablation changed."""

from collections.abc import Sequence

import pandas as pd

from alignsd.base.intervals import paired_bootstrap
from alignsd.base.paths import stage_dir
from alignsd.compare.arm_metrics import against
from alignsd.compare.arms import ADAPTED, ADAPTED_IDENTIFIER, ORIGINAL, PAPERS
from alignsd.compare.measurement import Measurement
from alignsd.kit import lineage
from alignsd.kit.stage_record import input_state
from alignsd.kit.tables import read_table
from alignsd.planning.ablation.definitions import ACCURACY, Ablation
from alignsd.planning.ablation.settings import Setting
from alignsd.reward.accuracy import chance_right

TRAIN = "02_train_hps"
EVALUATE = "07_evaluate"
HPS = "HPS"
CLIP = "CLIP"
PREDICTORS = (CLIP, HPS)  # whose accuracy is read off
ARMS = (ORIGINAL.name, ADAPTED.name, PAPERS.name, ADAPTED_IDENTIFIER.name)  # for other metrics
COMPARED = (ADAPTED.name, PAPERS.name)  # with the same arm of the parent
COLUMNS = ["setting", "run", "of", "metric", "value", "low", "high", "n", "minus"]
OF_THE_RUN = "the run's own setting"  # in column ``minus``


def table(ablation: Ablation, settings: Sequence[Setting], parent: str, seed: int) -> pd.DataFrame:
    """Return what an ablation reads off, a row per setting, metric and arm or predictor.

    Args:
        ablation: the ablation.
        settings: finished settings, from ``settings.settings``.
        parent: the run that the settings vary.
        seed: of the bootstrap of the differences.

    Returns:
        ``setting`` (values in words), ``run``, ``of`` (the arm; for the accuracy, the predictor),
        ``metric``, ``value`` with the 95 % interval ``low``, ``high``, ``n`` (pictures; for the
        accuracy, choices), and ``minus``: empty, or what was subtracted. Rows whose ``minus`` is
        ``OF_THE_RUN`` are paired differences from the same arm or predictor in the parent: by
        picture, or by test choice. FID has no such rows.
    """
    rows = []
    for setting in settings:
        tables = [_values(ablation, setting)]
        if setting.run != parent:
            tables += _differences(ablation, setting.run, parent, seed)
        for values in tables:
            rows.append(values.assign(setting=setting.label, run=setting.run))
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def states(ablation: Ablation, settings: Sequence[Setting]) -> dict[str, dict[str, str]]:
    """Return run -> stage -> 16 digits of the state, of the stages that the table was read from."""
    names = [TRAIN] if ACCURACY in ablation.metrics else []
    if ablation.last >= EVALUATE[:2]:
        names.append(EVALUATE)
    found = {}
    for setting in settings:
        holders = {name: lineage.holder(setting.run, name) for name in names}
        found[setting.run] = {name: input_state(run, name) for name, run in holders.items()}
    return found


def _values(ablation: Ablation, setting: Setting) -> pd.DataFrame:
    """Return ``of, metric, value, low, high, n, minus`` of one setting."""
    measured = []
    for metric in ablation.metrics:
        if metric == ACCURACY:
            accuracy = _read(setting.run, TRAIN, "accuracy")
            rows = accuracy.rename(columns={"predictor": "of", ACCURACY: "value"})
            rows = rows.assign(metric=ACCURACY)
        else:
            arms = _read(setting.run, EVALUATE, "arms").rename(columns={"arm": "of"})
            rows = arms[arms["metric"] == metric]
        names = PREDICTORS if metric == ACCURACY else ARMS
        measured.append(rows[rows["of"].isin(names)])
    return pd.concat(measured, ignore_index=True).assign(minus="")


def _differences(ablation: Ablation, run: str, parent: str, seed: int) -> list[pd.DataFrame]:
    """Return how a setting's run differs from the parent, in tables as ``_values`` returns."""
    tables = []
    if ACCURACY in ablation.metrics:
        tables.append(_of_choices(run, parent, seed))
    if ablation.last >= EVALUATE[:2]:
        for arm in COMPARED:
            differences = _of_pictures(arm, run, parent, seed)
            tables.append(differences[differences["metric"].isin(ablation.metrics)])
    return [differences.assign(minus=OF_THE_RUN) for differences in tables]


def _of_choices(run: str, parent: str, seed: int) -> pd.DataFrame:
    """Return the difference of HPS's accuracy on the test choices of both runs, a row."""
    right = []
    for name in (run, parent):
        right.append(chance_right(_read(name, TRAIN, "test_scores"), "hps"))
    both = pd.concat(right, axis=1, keys=["run", "parent"]).dropna()
    mean, low, high = paired_bootstrap(both["run"], both["parent"], seed)
    row = Measurement(mean, low, high, len(both)).row(HPS, ACCURACY)
    return pd.DataFrame([row]).rename(columns={"arm": "of"})


def _of_pictures(arm: str, run: str, parent: str, seed: int) -> pd.DataFrame:
    """Return the differences of an arm from the same arm of the parent, a row per metric.

    The same id is the same prompt and the same noise in both runs.
    """
    both = []
    for name in (parent, run):
        metrics = _read(name, EVALUATE, "image_metrics")
        both.append(metrics[metrics["arm"] == arm].assign(arm=name))
    differences = against(pd.concat(both, ignore_index=True), seed, baseline=parent)
    return differences.drop(columns="arm").assign(of=arm)


def _read(run: str, stage: str, stem: str) -> pd.DataFrame:
    """Return a table of a stage, from the run or from the nearest ancestor with the stage."""
    return read_table(stage_dir(lineage.holder(run, stage), stage) / f"{stem}.parquet")
