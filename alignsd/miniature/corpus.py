"""Draw the simulated DiffusionDB, which the miniature scores in place of DiffusionDB."""

import hashlib
import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from alignsd.base.atomic import replacing, write_json
from alignsd.base.errors import Problem, check_seed
from alignsd.base.images import BadImage
from alignsd.base.processes import first_does, is_first, share, wait
from alignsd.base.reading import read_json
from alignsd.kit.tables import TABLES, command_for, write_table
from alignsd.miniature import world
from alignsd.select.diffusiondb import METADATA, OK, SAMPLERS, list_part, read_members

if TYPE_CHECKING:  # diffusers takes seconds to load, and a finished corpus needs no model
    from alignsd.models.stable_diffusion import Drawing

SAFETY_SCORE = 2.0  # image_nsfw of an image that the safety filter has blurred
FIRST_PROMPT_TIME = pd.Timestamp("2022-08-08", tz="UTC")
BETWEEN_PROMPTS = pd.Timedelta(minutes=7)


@dataclass(frozen=True)
class CorpusRecipe:
    """What the simulated users asked the base model for.

    Attributes:
        prompts: number of distinct prompts.
        fewest: pictures of most prompts, at least.
        most: pictures of a prompt, at most.
        few_share: share of the prompts that have fewer pictures than ``fewest``.
        blurred_share: share of the pictures that the safety filter has blurred.
        scattered_share: share of the prompts whose pictures are scattered over the parts.
        parts: number of zip files.
        seed: fixes prompts and pictures.

    Raises:
        Problem: if no corpus can have these numbers.
    """

    prompts: int = 330
    fewest: int = 4
    most: int = 6
    few_share: float = 0.06
    blurred_share: float = 0.02
    scattered_share: float = 0.3
    parts: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        has_parts = 1 <= self.parts <= self.prompts <= world.MOST_CAPTIONS
        has_pictures = 1 <= self.fewest <= self.most
        if not (has_parts and has_pictures):
            raise Problem(
                "Such a corpus cannot be made.",
                expected=f"1 <= parts <= prompts <= {world.MOST_CAPTIONS} "
                "and 1 <= fewest <= most pictures",
                found=str(asdict(self)),
                cause="a parameter of the corpus",
                fix="change prompts, parts or the pictures per prompt",
            )
        names = ("few_share", "blurred_share", "scattered_share")
        shares = {name: getattr(self, name) for name in names}
        wrong = {name: share for name, share in shares.items() if not 0 <= share <= 1}
        if wrong:
            raise Problem(
                "Such a corpus cannot be made.",
                expected="shares from 0 to 1",
                found=str(wrong),
                cause="a parameter of the corpus",
                fix="change " + " and ".join(wrong),
            )


def plan(recipe: CorpusRecipe) -> pd.DataFrame:
    """Return the corpus as a table, before any picture is drawn. The recipe alone decides.

    Returns:
        One row per picture, ordered by part and name: ``part_id`` (from 1), ``image_name``
        (``<uuid>.png``), ``prompt``, ``sample`` (number among the prompt's pictures), ``user_name``
        (64 hex digits, one user per prompt), ``timestamp`` (UTC), ``blurred`` (bool).
    """
    rng = np.random.default_rng((recipe.seed, *b"corpus"))
    pictures = []
    for number, prompt in enumerate(world.captions(recipe.prompts, rng)):
        pictures += _pictures_of_prompt(recipe, number, prompt, rng)
    return pd.DataFrame(pictures).sort_values(["part_id", "image_name"], ignore_index=True)


def _pictures_of_prompt(
    recipe: CorpusRecipe, number: int, prompt: str, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return the rows of one prompt's pictures."""
    # The draws keep their order: another order would give another corpus for the same seed.
    has_few = recipe.fewest > 1 and rng.random() < recipe.few_share
    if has_few:
        count = rng.integers(1, recipe.fewest)
    else:
        count = rng.integers(recipe.fewest, recipe.most + 1)
    # The first prompts fill one part each, so that no part is empty.
    fills_a_part = number < recipe.parts
    home = number + 1 if fills_a_part else _any_part(recipe, rng)
    is_scattered = not fills_a_part and rng.random() < recipe.scattered_share
    user = f"simulated user {rng.integers(1 + recipe.prompts // 3)}"
    pictures = []
    for sample in range(count):
        picture = {
            "part_id": _any_part(recipe, rng) if is_scattered else home,
            "image_name": f"{uuid.UUID(bytes=rng.bytes(16), version=4)}.png",
            "prompt": prompt,
            "sample": sample,
            "user_name": hashlib.sha256(user.encode()).hexdigest(),
            "timestamp": FIRST_PROMPT_TIME + BETWEEN_PROMPTS * number,
            "blurred": bool(rng.random() < recipe.blurred_share),
        }
        pictures.append(picture)
    return pictures


def _any_part(recipe: CorpusRecipe, rng: np.random.Generator) -> int:
    return int(rng.integers(1, recipe.parts + 1))


def part_name(number: int) -> str:
    """Return a part's name: ``part-000001`` for 1."""
    return f"part-{number:06d}"


def safety_blur(image: np.ndarray) -> np.ndarray:
    """Return an image blurred beyond recognition, as the safety filter of the Discord bot does.

    Args:
        image: ``(h, w, 3)`` uint8.
    """
    radius = max(image.shape[:2]) / 4
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def write_corpus(
    folder: Path, recipe: CorpusRecipe, model: str, drawing: "Drawing", device: str = "auto"
) -> pd.DataFrame:
    """Draw a corpus with the base model, and write it with the layout of DiffusionDB 2M.

    Existing parts are kept, so a stopped run goes on with the next part. Each picture has a seed,
    which follows from the recipe's seed, the prompt and the sample's number. Several processes
    divide the parts, and all return when all parts are there.

    Args:
        folder: gets ``images/part-000001.zip``, ... and ``metadata.parquet``.
        recipe: what is drawn.
        model: Stable Diffusion, see ``stable_diffusion.load_pipeline``.
        drawing: how the pictures are drawn.
        device: ``"auto"`` or a torch device.

    Returns:
        The metadata table.

    Raises:
        Problem: if the folder holds a corpus of another recipe.
    """
    made_from = {
        "recipe": asdict(recipe),
        "model": model,
        "steps": drawing.steps,
        "guidance": drawing.guidance,
    }
    _refuse_other(folder, made_from)
    metadata = _metadata(recipe, drawing)
    zips = {part: folder / "images" / f"{part_name(part)}.zip" for part in metadata["part_id"]}
    missing = [part for part in share(list(zips)) if not zips[part].exists()]
    if missing:
        from alignsd.models.stable_diffusion import load_pipeline

        pipeline = load_pipeline(model, device)
        for part in missing:
            rows = metadata[metadata["part_id"] == part]
            write_part(zips[part], rows, _drawn(pipeline, rows, drawing))
    wait()
    height, width = _first_picture(zips[1]).shape[:2]
    metadata = metadata.assign(width=width, height=height).astype(METADATA)[list(METADATA)]
    first_does(lambda: write_table(folder / "metadata.parquet", metadata))
    return metadata


def _refuse_other(folder: Path, made_from: dict[str, Any]) -> None:
    """Note what the corpus is made from; raise a Problem if the folder's note says otherwise."""
    record = folder / "made_from.json"
    noted = read_json(record) if record.exists() else made_from
    if noted != made_from:
        raise Problem(
            f"{folder.name} holds a corpus made from another recipe.",
            expected=str(made_from),
            found=str(noted),
            cause="a parameter of the corpus was changed",
            fix=f"alignsd clean --run NAME --from {TABLES['scores'].stage[:2]}",
        )
    if is_first():
        write_json(record, made_from)


def _metadata(recipe: CorpusRecipe, drawing: "Drawing") -> pd.DataFrame:
    """Return the metadata; width and height are 0 until a picture is drawn."""
    from alignsd.models.stable_diffusion import image_seed

    planned = plan(recipe)
    rng = np.random.default_rng((recipe.seed, *b"nsfw"))
    n = len(planned)
    image_nsfw = np.where(planned["blurred"], SAFETY_SCORE, rng.beta(1, 12, n))
    prompt_nsfw = rng.beta(1, 200, n)
    samples = zip(planned["prompt"], planned["sample"], strict=True)
    table = planned.assign(
        seed=[image_seed(recipe.seed, "corpus", prompt, sample) for prompt, sample in samples],
        step=drawing.steps,
        cfg=drawing.guidance,
        sampler=SAMPLERS["others"],  # DiffusionDB has no name for the miniature's scheduler
        width=0,
        height=0,
        image_nsfw=image_nsfw,
        prompt_nsfw=prompt_nsfw,
    )
    return table[list(METADATA)].astype(METADATA)


def _drawn(pipeline: Any, rows: pd.DataFrame, drawing: "Drawing") -> Iterator[np.ndarray]:
    """Draw the pictures of the rows in order, and blur what the safety filter caught."""
    from alignsd.models.stable_diffusion import Job, generate

    caught = set(rows.loc[rows["image_nsfw"] == SAFETY_SCORE, "image_name"])
    jobs = [Job(row.image_name, row.prompt, int(row.seed)) for row in rows.itertuples(index=False)]
    for job, image in generate(pipeline, jobs, drawing):
        yield safety_blur(image) if job.id in caught else image


def write_part(path: Path, rows: pd.DataFrame, images: Iterator[np.ndarray]) -> None:
    """Write one part with the layout of DiffusionDB, whole or not at all.

    Args:
        path: ``.../part-XXXXXX.zip``.
        rows: in the metadata's columns; one row per picture.
        images: pixels ``(h, w, 3)`` uint8, in the order of the rows.
    """
    sampler_of = {code: name for name, code in SAMPLERS.items()}
    entries = {}
    for row in rows.itertuples(index=False):
        entries[row.image_name] = {
            "p": row.prompt,
            "se": int(row.seed),
            "c": float(row.cfg),
            "st": int(row.step),
            "sa": sampler_of[row.sampler],
        }
    # ZipInfo has a fixed date, so that equal parts are equal files.
    with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for name, image in zip(entries, images, strict=True):
            png = io.BytesIO()
            Image.fromarray(image).save(png, format="PNG")
            archive.writestr(zipfile.ZipInfo(name), png.getvalue())
        archive.writestr(zipfile.ZipInfo(f"{path.stem}.json"), json.dumps(entries))


def _first_picture(path: Path) -> np.ndarray:
    """Return the first usable picture of a part.

    Raises:
        Problem: if the part holds no usable picture.
    """
    contents = list_part(path)
    usable = contents[contents["status"] == OK]
    for picture in read_members(path, usable["member"].tolist()):
        if not isinstance(picture, BadImage):
            return picture
    raise Problem(
        f"{path.name} holds no picture.",
        expected="pictures that the miniature drew",
        found=f"{len(usable)} that can be used",
        cause="the part was changed by hand",
        fix=command_for(TABLES["scores"].stage, path),
    )
