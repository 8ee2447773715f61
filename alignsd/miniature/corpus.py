"""The simulated DiffusionDB and the simulated LAION: what the miniature's notebooks read instead of the real sets."""

import hashlib
import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from alignsd.base.atomic import replacing, write_json
from alignsd.base.errors import Problem, check_seed
from alignsd.base.images import BadImage
from alignsd.base.reading import read_json
from alignsd.kit.tables import write_table
from alignsd.miniature import world
from alignsd.select.diffusiondb import METADATA, OK, SAMPLERS, list_part, read_members
from alignsd.select.imagefolder import write_imagefolder

FIRST_REGULARIZATION = 20_000_000  # number of the web's first regularization picture, far from those of the pretraining
PER_SEED = 1_000_000  # pictures of the web set aside for each seed
CHUNK = 500  # pictures of the web rendered and rated at a time
SAFETY_SCORE = 2.0  # image_nsfw of an image that the safety filter has blurred


@dataclass(frozen=True)
class Recipe:
    """What the simulated users asked the base model for."""

    prompts: int = 330
    fewest: int = 4  # pictures per prompt ...
    most: int = 6
    few_share: float = 0.06  # of the prompts, which have fewer pictures than ``fewest``
    blurred_share: float = 0.02  # of the pictures, which the safety filter has blurred
    scattered_share: float = 0.3  # of the prompts, whose pictures are scattered over the parts
    parts: int = 3
    seed: int = 0

    def __post_init__(self):
        check_seed(self.seed)
        if not (1 <= self.parts <= self.prompts <= world.MOST_CAPTIONS and 1 <= self.fewest <= self.most):
            raise Problem("Such a corpus cannot be made.", found=str(asdict(self)), cause="a parameter of 03",
                          expected=f"1 <= parts <= prompts <= {world.MOST_CAPTIONS} and 1 <= fewest <= most pictures",
                          fix="change prompts, parts or the pictures per prompt")
        names = ("few_share", "blurred_share", "scattered_share")
        shares = {name: getattr(self, name) for name in names}
        wrong = {name: share for name, share in shares.items() if not 0 <= share <= 1}
        if wrong:
            raise Problem(
                "Such a corpus cannot be made.",
                expected="shares from 0 to 1",
                found=str(wrong),
                cause="a parameter of 03",
                fix="change " + " and ".join(wrong),
            )


def plan(recipe: Recipe) -> pd.DataFrame:
    """Draws up the corpus: one row per picture, before any is drawn.

    Returns:
        ``part_id`` (from 1), ``image_name`` (``<uuid>.png``), ``prompt``, ``sample`` (number among the prompt's pictures),
        ``user_name`` (64 hex digits, one user per prompt), ``timestamp`` (UTC), ``blurred`` (bool), ordered by part and
        name. It follows from the recipe alone.
    """
    rng = np.random.default_rng((recipe.seed, *b"corpus"))
    rows = []
    for number, prompt in enumerate(world.captions(recipe.prompts, rng)):
        few = recipe.fewest > 1 and rng.random() < recipe.few_share
        pictures = rng.integers(1, recipe.fewest) if few else rng.integers(recipe.fewest, recipe.most + 1)
        # The first prompts fill one part each, so that no part is empty.
        home = number + 1 if number < recipe.parts else int(rng.integers(1, recipe.parts + 1))
        scattered = number >= recipe.parts and rng.random() < recipe.scattered_share
        user = hashlib.sha256(f"simulated user {rng.integers(1 + recipe.prompts // 3)}".encode()).hexdigest()
        rows += [{"part_id": int(rng.integers(1, recipe.parts + 1)) if scattered else home,
                  "image_name": f"{uuid.UUID(bytes=rng.bytes(16), version=4)}.png", "prompt": prompt, "sample": sample,
                  "user_name": user, "timestamp": pd.Timestamp("2022-08-08", tz="UTC") + pd.Timedelta(minutes=7 * number),
                  "blurred": bool(rng.random() < recipe.blurred_share)} for sample in range(pictures)]
    return pd.DataFrame(rows).sort_values(["part_id", "image_name"], ignore_index=True)


def part_name(number: int) -> str:
    """Returns a part's name: 1 gives ``part-000001``."""
    return f"part-{number:06d}"


def safety_blur(image: np.ndarray) -> np.ndarray:
    """Blurs an image ``(h, w, 3)`` uint8 beyond recognition, as the safety filter of the Discord bot did."""
    radius = max(image.shape[:2]) / 4
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def write_corpus(folder: Path, recipe: Recipe, model: str, steps: int, guidance: float,
                 device: str = "auto") -> pd.DataFrame:
    """Draws a corpus with the base model and writes it as DiffusionDB 2M is laid out.

    Parts that are there are kept, so a stopped run goes on with the next part. A picture follows from its seed, and that
    from the recipe's seed, the prompt and the sample number.

    Args:
        folder: gets ``images/part-000001.zip``, ... and ``metadata.parquet``.
        recipe: what is drawn.
        model: Stable Diffusion, see ``generation.load_pipeline``.
        steps: denoising steps.
        guidance: scale of classifier-free guidance.
        device: ``"auto"`` or a torch device.

    Returns:
        The metadata table.

    Raises:
        Problem: if the folder was made from another recipe.
    """
    made_from = {"recipe": asdict(recipe), "model": model, "steps": steps, "guidance": guidance}
    _refuse_other(folder, made_from)
    metadata = _metadata(plan(recipe), recipe, steps, guidance)
    missing = [part for part in metadata["part_id"].unique() if not (folder / "images" / f"{part_name(part)}.zip").exists()]
    if missing:
        from alignsd.models.stable_diffusion import load_pipeline
        pipeline = load_pipeline(model, device)
        for part in missing:
            rows = metadata[metadata["part_id"] == part]
            write_part(folder / "images" / f"{part_name(part)}.zip", rows, _drawn(pipeline, rows, steps, guidance))
    height, width = _first_picture(folder / "images" / f"{part_name(1)}.zip").shape[:2]
    kinds = {"width": "uint16", "height": "uint16"}
    metadata = metadata.assign(width=width, height=height).astype(kinds)
    write_table(folder / "metadata.parquet", metadata[list(METADATA)])
    return metadata[list(METADATA)]


def _refuse_other(folder: Path, made_from: dict[str, Any]) -> None:
    record = folder / "made_from.json"
    found = read_json(record) if record.exists() else made_from
    if found != made_from:
        raise Problem(f"{folder.name} holds a corpus made from another recipe.", expected=str(made_from),
                      found=str(found), cause="a parameter of 03 was changed",
                      fix="alignsd clean --run NAME --from 03")
    write_json(record, made_from)


def _metadata(planned: pd.DataFrame, recipe: Recipe, steps: int, guidance: float) -> pd.DataFrame:
    """Returns the plan in the metadata's columns; width and height are known when a picture is drawn."""
    from alignsd.models.stable_diffusion import image_seed
    rng = np.random.default_rng((recipe.seed, *b"nsfw"))
    n = len(planned)
    nsfw = np.where(planned["blurred"], SAFETY_SCORE, rng.beta(1, 12, n))
    seeds = [image_seed(recipe.seed, "corpus", prompt, sample)
             for prompt, sample in zip(planned["prompt"], planned["sample"], strict=True)]
    # The miniature's scheduler is none that DiffusionDB has a name for.
    table = planned.assign(seed=seeds, step=steps, cfg=guidance, sampler=SAMPLERS["others"], width=0, height=0,
                           image_nsfw=nsfw, prompt_nsfw=rng.beta(1, 200, n))
    return table[list(METADATA)].astype(METADATA)


def _drawn(pipeline: Any, rows: pd.DataFrame, steps: int, guidance: float) -> Iterator[np.ndarray]:
    """Draws the pictures of the rows in order and blurs those that the safety filter caught."""
    from alignsd.models.stable_diffusion import Drawing, Job, generate
    caught = set(rows.loc[rows["image_nsfw"] == SAFETY_SCORE, "image_name"])
    jobs = [Job(row.image_name, row.prompt, int(row.seed)) for row in rows.itertuples(index=False)]
    for job, image in generate(pipeline, jobs, Drawing(steps, guidance)):
        yield safety_blur(image) if job.id in caught else image


def write_part(path: Path, rows: pd.DataFrame, images: Iterator[np.ndarray]) -> None:
    """Writes one part as it is published, whole or not at all.

    Args:
        path: ``.../part-XXXXXX.zip``.
        rows: in the metadata's columns; one row per picture.
        images: pixels ``(h, w, 3)`` uint8, in the order of the rows.
    """
    samplers = {code: name for name, code in SAMPLERS.items()}
    entries = {row.image_name: {"p": row.prompt, "se": int(row.seed), "c": float(row.cfg), "st": int(row.step),
                                "sa": samplers[row.sampler]} for row in rows.itertuples(index=False)}
    with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, image in zip(entries, images, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, format="PNG")
            archive.writestr(zipfile.ZipInfo(name), buffer.getvalue())  # ZipInfo's fixed date keeps equal parts equal files
        archive.writestr(zipfile.ZipInfo(f"{path.stem}.json"), json.dumps(entries))


def _first_picture(path: Path) -> np.ndarray:
    """Return the first picture of a part that can be used."""
    contents = list_part(path)
    usable = contents[contents["status"] == OK]
    read = read_members(path, usable["member"].tolist())
    first = next((picture for picture in read if not isinstance(picture, BadImage)), None)
    if first is None:
        raise Problem(
            f"{path.name} holds no picture.",
            expected="pictures that the miniature drew",
            found=f"{len(usable)} that can be used",
            cause="the part was changed by hand",
            fix="alignsd run --run NAME --force 03",
        )
    return first


def write_regularization(folder: Path, n: int, seed: int, minimum_rating: float = 6.5, clip: str = "miniature/clip",
                         aesthetic: str = "miniature/aesthetic", device: str = "auto") -> dict[str, int]:
    """Writes captioned pictures of the simulated web that the aesthetic predictor rates high, as an imagefolder.

    They come from the same web as the pretraining's, a share of them awkward, but from numbers that the pretraining never
    saw. The paper takes 200,231 pairs of LAION aesthetics 6.5+.

    Args:
        folder: gets ``regularization/*.png`` and ``metadata.jsonl`` with ``file_name``, ``text``, ``label``
            (``"regularization"``), ``rating``.
        n: number of pictures.
        seed: each has pictures of its own.
        minimum_rating: predicted rating, 1-10; a picture at exactly this rating is taken.
        clip, aesthetic: the predictor, for ``load_clip`` and ``load_aesthetic``.
        device: for ``load_clip``.

    Returns:
        Counts of ``write_imagefolder``.

    Raises:
        Problem: if so few pictures are rated that high that the web of this seed does not hold ``n``.
    """
    from alignsd.miniature.pretraining.pretrain import FLAW_SHARE, WEB_SEED
    from alignsd.miniature.web import make_web
    from alignsd.models.aesthetic import load_aesthetic
    from alignsd.models.clip import embed_images, load_clip
    model, head = load_clip(clip, device=device), load_aesthetic(aesthetic)
    rows, pictures, first = [], {}, FIRST_REGULARIZATION + seed * PER_SEED
    for start in range(first, first + min(PER_SEED, 100 * n + CHUNK), CHUNK):
        web = make_web(CHUNK, WEB_SEED, FLAW_SHARE, first=start)
        ratings = head.predict(embed_images(model, list(web.pictures)))
        for i in np.flatnonzero(ratings >= minimum_rating)[:n - len(rows)]:
            name = f"regularization/{start + i}.png"
            rows.append({"file_name": name, "text": web.captions[i], "label": "regularization", "rating": float(ratings[i])})
            pictures[name] = web.pictures[i]
        if len(rows) == n:
            return write_imagefolder(folder, pd.DataFrame(rows),
                                     lambda missing: ((name, pictures[name]) for name in missing["file_name"]))
    raise Problem("The simulated web has too few pictures rated that high.", expected=f"{n} at {minimum_rating} or more",
                  found=f"{len(rows)} of {100 * n + CHUNK}", cause="the minimum rating is out of the predictor's reach",
                  fix="lower minimum_rating or regularization_images in 05")
