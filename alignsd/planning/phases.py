"""Turn a preset's work and the time of each unit into phases that ``scaling`` simulates."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignsd import paper
from alignsd.base.errors import Problem
from alignsd.base.reading import read_json
from alignsd.kit.values.parameters import whole
from alignsd.planning import throughput
from alignsd.planning.scaling import Divided, OnCores, Phase, Training
from alignsd.planning.throughput import TASKS
from alignsd.planning.work import Values, count_work, drawn_images
from alignsd.select.fetch import PART_GIB

GIGABYTE = 1e9  # bytes
HPS_GRADIENTS = 4 * 150_185_217 / GIGABYTE  # ViT-L/14, the paper's last layers unlocked
LORA_GRADIENTS = 4 * 6_377_472 / GIGABYTE  # rank 32
FILE_OF_LATENTS = 32  # pictures that are encoded at a time
EMBEDDED_AT_A_TIME = 256
MEASURED_AT_A_TIME = 128

# Short names of the tasks, for the command line and for files of rates.
RATES = {
    "read": throughput.READ,
    "embed": throughput.EMBED,
    "train-clip": throughput.TRAIN_CLIP,
    "encode": throughput.ENCODE,
    "train-lora": throughput.TRAIN_LORA,
    "denoise": throughput.DENOISE,
    "decode": throughput.DECODE,
    "features": throughput.FEATURES,
    "fid": throughput.FRECHET,
}
SECONDS = "{task: seconds per unit}, or what alignsd cost keeps in cost.json"
Rates = Mapping[str, float]  # task -> seconds per unit


def phases(values: Values, parts: int, rates: Rates) -> list[Phase]:
    """Return the phases of a preset at full size, in the order in which they run.

    Notebook 10 has no phase: a run leaves notebook 10 out unless it is named.
    A phase of which a rate is unknown is left out, see ``missing``.

    Args:
        values, parts: as in ``work.count_work``.
        rates: seconds of each task's unit: of one GPU, or of one core for reading and for FID.
    """
    counts = count_work(values, parts).set_index(["notebook", "task"])["count"]
    known = {task: rates.get(task, math.nan) for task in TASKS}

    def seconds(notebook: str, task: str) -> float:
        return counts[notebook, task] * known[task]

    steps, batch = whole(values["06"], "steps"), whole(values["06"], "batch")
    of_a_drawing = steps * known[throughput.DENOISE] + known[throughput.DECODE]
    of_a_measured = 2 * known[throughput.EMBED] + known[throughput.FEATURES]
    drawn = drawn_images(values)
    tested = math.ceil(counts["02", throughput.EMBED] / EMBEDDED_AT_A_TIME)
    files = math.ceil(counts["05", throughput.ENCODE] / FILE_OF_LATENTS)
    encoding = seconds("05", throughput.ENCODE) + seconds("05", throughput.EMBED)
    made: list[Phase] = [
        _hps_training(values, counts["02", throughput.TRAIN_CLIP], known),
        _shared("02 test", tested, gpu=seconds("02", throughput.EMBED)),
        _scoring(values, parts, known),
        OnCores("04 select", math.ceil(counts["04", throughput.READ]), known[throughput.READ]),
        _shared("05 latents", files, gpu=encoding, core=seconds("05", throughput.READ)),
        _lora_trainings(values, known),
        _shared("06 draw", math.ceil(drawn / batch), gpu=drawn * of_a_drawing),
        _shared("07 measure", math.ceil(drawn / MEASURED_AT_A_TIME), gpu=drawn * of_a_measured),
        OnCores("07 FID", math.ceil(counts["07", throughput.FRECHET]), known[throughput.FRECHET]),
    ]
    return [phase for phase in made if _is_known(phase)]


def _shared(name: str, items: int, gpu: float, core: float = 0.0) -> Divided:
    """Return a phase of equal items from the seconds of all items together."""
    return Divided(name, items, gpu=gpu / max(1, items), core=core / max(1, items))


def _hps_training(values: Values, images: int, known: Rates) -> Training:
    images_per_choice = paper.TRAIN_IMAGES / paper.TRAIN_CHOICES
    batch = whole(values["02"], "batch")
    steps = math.ceil(images / images_per_choice / batch)
    seconds = images_per_choice * known[throughput.TRAIN_CLIP]
    return Training("02 train", steps, batch, seconds, HPS_GRADIENTS)


def _lora_trainings(values: Values, known: Rates) -> Training:
    """Return the trainings of the adapted model and of the control, one after the other."""
    steps = 2 * whole(values["05"], "steps")
    batch = whole(values["05"], "batch")
    return Training("05 LoRAs", steps, batch, known[throughput.TRAIN_LORA], LORA_GRADIENTS)


def _scoring(values: Values, parts: int, known: Rates) -> Divided:
    return Divided(
        "03 score",
        parts,
        gpu=paper.IMAGES_PER_PART * known[throughput.EMBED],
        core=paper.IMAGES_PER_PART * known[throughput.READ],
        gigabytes=PART_GIB["large"] * 2**30 / GIGABYTE,
        steps=math.ceil(paper.IMAGES_PER_PART / whole(values["03"], "batch")),
    )


def _is_known(phase: Phase) -> bool:
    seconds = [phase.core] if isinstance(phase, OnCores) else [phase.gpu]
    if isinstance(phase, Divided):
        seconds.append(phase.core)
    return all(math.isfinite(value) for value in seconds)


def missing(rates: Rates) -> list[str]:
    """Return the tasks without a rate, whose phases are left out."""
    return [task for task in TASKS if task not in rates]


def read_rates(path: Path) -> dict[str, float]:
    """Read seconds per unit from a JSON file.

    Args:
        path: an object of task -> seconds, with the names of ``RATES`` or of
            ``throughput.TASKS``; or the ``cost.json`` that ``alignsd run`` keeps of a measurement.

    Raises:
        Problem: if the file cannot be read, or holds something else.
    """
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("measured"), list):
        rows = [row for row in content["measured"] if isinstance(row, dict)]
        rows = [row for row in rows if row.get("task") not in throughput.OTHER_TASKS]
        content = {row.get("task"): row.get("seconds") for row in rows}
    if not isinstance(content, dict) or not content:
        raise _bad_rate(path.name, f"a {type(content).__name__}, or nothing")
    return {task_named(name): _seconds(name, value) for name, value in content.items()}


def rate_given(text: str) -> tuple[str, float]:
    """Return task and seconds of a rate on the command line, such as ``embed=0.0032``.

    Raises:
        Problem: if the text has another form.
    """
    name, _, value = text.partition("=")
    try:
        seconds: Any = float(value)
    except ValueError:
        seconds = value
    return task_named(name), _seconds(name, seconds)


def given_rates(file: Path | None, rates: Sequence[str]) -> dict[str, float]:
    """Return the rates of a file and of the command line, which wins.

    Args:
        file: as ``read_rates`` takes it; None for no file.
        rates: as ``rate_given`` takes them.

    Raises:
        Problem: if the file cannot be read, or a rate has another form.
    """
    of_file = {} if file is None else read_rates(file)
    return of_file | dict(rate_given(text) for text in rates)


def task_named(name: Any) -> str:
    """Return the task of a short name, or of the task's own name.

    Raises:
        Problem: if there is no such task.
    """
    task = RATES.get(name, name)
    if task not in TASKS:
        raise Problem(
            f"There is no task {str(name)[:60]!r}.",
            expected=", ".join(RATES),
            found=repr(name)[:60],
            cause="a misspelt name in the file of rates or after --rate",
            fix="alignsd simulate --gpus 1,8 --rate embed=0.0032 --rate read=0.007",
        )
    return task


def _seconds(name: str, value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise _bad_rate(str(name)[:60], repr(value)[:60])
    return float(value)


def _bad_rate(name: str, found: str) -> Problem:
    return Problem(
        f"{name} does not say how long a unit takes.",
        expected=f"seconds per unit, at least 0: {SECONDS}",
        found=found,
        cause="a rate per second in place of seconds, or a file of something else",
        fix="alignsd simulate --gpus 1,8 --rate embed=0.0032 --rate read=0.007",
    )
