"""What the tables between notebooks hold: columns, types, units and meanings, each once.

Each table is a parquet file in a stage's folder, declared as a pyarrow schema. A field of the
schema has the metadata ``unit`` and ``meaning``. docs/data_formats.md says the same for readers,
and a test compares the two.

Not declared here: DiffusionDB's ``metadata.parquet``, which is the release's own table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa

TEXT, NUMBER, WHOLE, TRUTH = pa.string(), pa.float64(), pa.int64(), pa.bool_()
TEXTS = pa.list_(TEXT)
SHARE, COSINE, RATING = "share, 0-1", "100 x cosine", "rating, about 1-10"
SUFFIX = ".parquet"

IN_WORDS = {
    TEXT: "text",
    NUMBER: "a number",
    WHOLE: "a whole number",
    TRUTH: "true or false",
    TEXTS: "a list of texts",
}
IN_WORDS_OR_NOTHING = {
    TEXT: "text or nothing",
    NUMBER: "a number or nothing",
    TRUTH: "true, false or nothing",
}


@dataclass(frozen=True)
class Table:
    """What a stage's table must hold. More columns are allowed.

    Attributes:
        stage: the notebook that writes the table.
        file: the name of the file, or a pattern of names.
        schema: the columns; a column that may hold nothing is nullable.
        key: the columns that together name a row; no two rows have the same values in the key.
        may_be_empty: whether a table without rows is right.
        optional: the columns that may be absent.
    """

    stage: str
    file: str
    schema: pa.Schema
    key: tuple[str, ...] = ()
    may_be_empty: bool = False
    optional: tuple[str, ...] = ()


def column(
    name: str, kind: pa.DataType, meaning: str, unit: str = "", nothing: bool = False
) -> pa.Field:
    """Return a column.

    Args:
        name: the column's name.
        kind: ``TEXT``, ``NUMBER``, ``WHOLE``, ``TRUTH`` or ``TEXTS``. Numbers have any width.
        meaning: what the values are.
        unit: of the values; empty if the values have no unit.
        nothing: whether a row may have no value.
    """
    return pa.field(name, kind, nullable=nothing, metadata={"unit": unit, "meaning": meaning})


def kind_in_words(field: pa.Field) -> str:
    """Return the kind of a column's values, such as ``"a number or nothing"``."""
    return IN_WORDS_OR_NOTHING[field.type] if field.nullable else IN_WORDS[field.type]


def name_of(path: Path | str) -> str | None:
    """Return the name in ``TABLES`` of a stage's file, or None if nothing is declared."""
    path = Path(path)
    folders = path.parts[-3:-1]
    for name, table in TABLES.items():
        if table.stage in folders and fnmatch(path.name, table.file):
            return name
    return None


def _interval(value: str, unit: str, of: str) -> list[pa.Field]:
    """Return the columns of a value with the 95 % interval."""
    return [
        column(value, NUMBER, of, unit),
        column("low", NUMBER, "lower end of the 95 % interval", unit),
        column("high", NUMBER, "upper end of the 95 % interval", unit),
    ]


def _n(unit: str, meaning: str) -> pa.Field:
    return column("n", WHOLE, meaning, unit)


def _table(
    stage: str,
    stem: str,
    columns: Sequence[pa.Field],
    key: tuple[str, ...] = (),
    may_be_empty: bool = False,
    optional: tuple[str, ...] = (),
) -> Table:
    return Table(stage, stem + SUFFIX, pa.schema(columns), key, may_be_empty, optional)


COLLECT = "01_collect_preferences"
TRAIN = "02_train_hps"
SCORE = "03_score_diffusiondb"
SELECT = "04_select_images"
FINETUNE = "05_finetune_stable_diffusion"
GENERATE = "06_generate"
EVALUATE = "07_evaluate"
OTHER_WAYS = "10_other_ways"

_ACCURACY = [
    column("predictor", TEXT, "the predictor, or the variant of HPS"),
    *_interval("accuracy", SHARE, "share of the choices that are guessed right"),
    _n("choices", "choices that were guessed"),
]
_MEASURED = [
    column("arm", TEXT, "the arm"),
    column("metric", TEXT, "such as hps, flaw_rate, flaw_ratio or fid"),
    *_interval("value", "the metric's", "the metric, or its difference between two arms"),
    _n("images", "images that were measured"),
]
_IMAGES = [
    column("arm", TEXT, "the arm"),
    column("id", TEXT, "prompt and sample"),
    column("prompt_id", TEXT, "the prompt's name"),
    column("sample", WHOLE, "number among the prompt's pictures, from 0"),
    column("prompt", TEXT, "the prompt as drawn, with the arm's identifier"),
    column("negative", TEXT, "the negative prompt; may be empty"),
    column("seed", WHOLE, "seed of the picture"),
    column("file", TEXT, "file below images/"),
]
_IMAGE_METRICS = [
    column("arm", TEXT, "the arm"),
    column("id", TEXT, "prompt and sample"),
    column("status", TEXT, "ok, or why the picture cannot be read"),
    column("hps", NUMBER, "HPS", COSINE, nothing=True),
    column("clip_score", NUMBER, "CLIP score", "cosine", nothing=True),
    column("aesthetic", NUMBER, "aesthetic score", RATING, nothing=True),
    column("flawed", TRUTH, "nothing without a judge", nothing=True),
    column("flaw", TEXT, "which flaw", nothing=True),
    column("match", TRUTH, "whether the picture matches the prompt", nothing=True),
]

TABLES = {
    "truth": _table(
        COLLECT,
        "truth",
        [
            column("message_id", TEXT, "the bot's answer"),
            column("file_name", TEXT, "the picture"),
            column("p", NUMBER, "chance that a random simulated person picks it", "probability"),
        ],
        key=("message_id", "file_name"),
    ),
    "provenance": _table(
        COLLECT,
        "provenance",
        [
            column("id", WHOLE, "the choice"),
            column("message_id", TEXT, "the bot's answer"),
            column("file_names", TEXTS, "the pictures, in HPD's order"),
        ],
        key=("id",),
    ),
    "accuracy": _table(TRAIN, "accuracy", _ACCURACY, key=("predictor",)),
    "variants": _table(TRAIN, "variants", _ACCURACY, key=("predictor",)),
    "test_scores": _table(
        TRAIN,
        "test_scores",
        [
            column("id", WHOLE, "the choice"),
            column("index", WHOLE, "the picture's position in the choice, from 0"),
            column("preferred", TRUTH, "whether the person chose the picture"),
            column("clip", NUMBER, "score before fine-tuning", COSINE),
            column("hps", NUMBER, "score after fine-tuning", COSINE),
            column("aesthetic", NUMBER, "score of the aesthetic predictor", RATING),
            column("p", NUMBER, "known chance of a pick, of simulated people", "probability"),
        ],
        key=("id", "index"),
        optional=("p",),
    ),
    "size_curve": _table(
        TRAIN,
        "size_curve",
        [
            column("choices", WHOLE, "size of the training set", "choices"),
            *_interval("accuracy", SHARE, "accuracy on the test choices"),
            _n("choices", "test choices"),
        ],
        may_be_empty=True,
    ),
    "hps_loss": _table(
        TRAIN,
        "loss",
        [
            column("step", WHOLE, "training step, from 0"),
            column("loss", NUMBER, "cross-entropy of the chosen image", "nats"),
        ],
        key=("step",),
        may_be_empty=True,  # with weights of the reader's own nothing is trained
    ),
    "scores": _table(
        SCORE,
        "part-*",
        [
            column("part", TEXT, "the zip, such as part-000001"),
            column("image", TEXT, "the picture's name, which is its id"),
            column("prompt", TEXT, "the prompt", nothing=True),
            column("hps", NUMBER, "nothing unless status is ok", COSINE, nothing=True),
            column("sharpness", NUMBER, "as hps", "grey levels, 0-255", nothing=True),
            column("status", TEXT, "ok, or why the picture cannot be used"),
        ],
        may_be_empty=True,
    ),
    "groups": _table(
        SELECT,
        "groups",
        [
            column("part", TEXT, "as in the scores"),
            column("image", TEXT, "as in the scores; names the row"),
            column("prompt", TEXT, "the prompt"),
            column("hps", NUMBER, "the image's score", COSINE),
            _n("images", "images of the same prompt"),
            column("p_best", NUMBER, "softmax of hps within the prompt", SHARE),
            column("p_worst", NUMBER, "softmax of -hps within the prompt", SHARE),
            column("role", TEXT, "positive, negative, 'negative, not kept', or empty"),
        ],
        key=("image",),
        may_be_empty=True,
    ),
    "funnel": _table(
        SELECT,
        "funnel",
        [
            column("step", TEXT, "the rule"),
            column("images", WHOLE, "what the rule leaves", "images"),
            column("prompts", WHOLE, "what the rule leaves", "prompts"),
        ],
        key=("step",),
    ),
    "sensitivity": _table(
        SELECT,
        "sensitivity",
        [
            column("alpha", NUMBER, "the threshold"),
            column("positives", WHOLE, "images that the threshold selects", "images"),
            column("negatives", WHOLE, "images that the threshold selects", "images"),
        ],
        may_be_empty=True,
    ),
    "flaw_rates": _table(
        SELECT,
        "flaw_rates",
        [
            column("group", TEXT, "positives, all images, negatives"),
            *_interval("rate", SHARE, "flaw rate"),
            _n("images", "images with a verdict"),
        ],
        key=("group",),
        may_be_empty=True,  # without a judge
    ),
    "lora_loss": _table(
        FINETUNE,
        "loss",
        [
            column("run", TEXT, "the training: adapted or regularization_only"),
            column("step", WHOLE, "training step, from 0"),
            column("loss", NUMBER, "loss of the step"),
        ],
        key=("run", "step"),
    ),
    "samples": _table(
        FINETUNE,
        "samples",
        [
            column("step", WHOLE, "steps before the sample was drawn"),
            column("index", TEXT, "names the prompt and seed"),
            column("prompt", TEXT, "the prompt"),
            column("file", TEXT, "file below samples/"),
        ],
        key=("step", "index"),
        may_be_empty=True,
    ),
    "images": _table(GENERATE, "images", _IMAGES, key=("arm", "id")),
    "image_metrics": _table(EVALUATE, "image_metrics", _IMAGE_METRICS, key=("arm", "id")),
    "arms": _table(EVALUATE, "arms", _MEASURED, key=("arm", "metric")),
    "against_original": _table(
        EVALUATE, "against_original", _MEASURED, key=("arm", "metric"), may_be_empty=True
    ),
    "against_control": _table(
        EVALUATE, "against_control", _MEASURED, key=("arm", "metric"), may_be_empty=True
    ),
    "chosen": _table(EVALUATE, "chosen", _MEASURED, key=("arm", "metric"), may_be_empty=True),
    "generators": _table(
        EVALUATE,
        "generators",
        [
            column("predictor", TEXT, "the predictor, or another person"),
            *_interval("value", SHARE, "agreement with a person"),
            _n("pairs", "pairs of pictures"),
        ],
        key=("predictor",),
        may_be_empty=True,
    ),
    "votes": _table(
        EVALUATE,
        "votes",
        [
            column("prompt_id", TEXT, "the prompt's name"),
            column("original", WHOLE, "votes for the original's picture", "people"),
            column("adapted", WHOLE, "votes for the adapted model's picture", "people"),
            column("voters", WHOLE, "people who were asked", "people"),
            column("status", TEXT, "ok, or why nobody voted"),
        ],
        key=("prompt_id",),
        may_be_empty=True,
    ),
    "majorities": _table(
        EVALUATE,
        "majorities",
        [
            column("outcome", TEXT, "adapted, original, tie, or lead"),
            *_interval("value", SHARE, "share of the prompts; lead: the difference"),
            _n("prompts", "prompts that were voted on"),
        ],
        key=("outcome",),
        may_be_empty=True,
    ),
    "ways_images": _table(OTHER_WAYS, "images", _IMAGES, key=("arm", "id")),
    "ways_metrics": _table(OTHER_WAYS, "image_metrics", _IMAGE_METRICS, key=("arm", "id")),
    "ways_arms": _table(OTHER_WAYS, "arms", _MEASURED, key=("arm", "metric")),
    "strengths": _table(OTHER_WAYS, "strengths", _MEASURED, key=("arm", "metric")),
    "best_of": _table(
        OTHER_WAYS,
        "best_of",
        [
            column("by", TEXT, "the score that chooses"),
            column("n", WHOLE, "pictures to choose from", "images"),
            column("metric", TEXT, "such as hps, flaw_rate (share, 0-1)"),
            *_interval("value", "the metric's", "the metric of the chosen pictures"),
            column("count", WHOLE, "prompts behind the value", "prompts"),
        ],
        key=("by", "n", "metric"),
    ),
    "flaws_of_pairs": _table(
        OTHER_WAYS,
        "flaws_of_pairs",
        [
            column("pairs", TEXT, "where the pairs come from"),
            column("picture", TEXT, "winner or loser"),
            *_interval("value", SHARE, "share of the pictures that are drawn wrong"),
            _n("pairs", "pairs behind the share"),
        ],
        key=("pairs", "picture"),
        may_be_empty=True,
    ),
}
