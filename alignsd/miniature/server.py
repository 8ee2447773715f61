"""The simulated Discord server: users ask, the bot draws, the users choose.

The channel is exported as DiscordChatExporter exports real channels. Only pictures of completed
choices are drawn: the other pictures are no longer kept.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from alignsd.base.atomic import replacing, write_json
from alignsd.base.errors import Problem
from alignsd.base.images import read_image, save_png
from alignsd.base.processes import first_does, gathered, share, wait
from alignsd.base.progress import track
from alignsd.kit.tables import write_table
from alignsd.miniature import people
from alignsd.miniature.conversations import (
    PACE,
    Request,
    Server,
    conversation,
    export,
    noise,
    simulate_requests,
)
from alignsd.miniature.judge import Judge, load_judge
from alignsd.miniature.renderer import SIZE
from alignsd.models.registry import resolve
from alignsd.models.stable_diffusion import (
    Drawing,
    Job,
    generate,
    image_seed,
    left_to_others,
    load_pipeline,
)

JUDGED = 100  # requests whose pictures the judge sees at a time


def write_export(folder: Path, server: Server) -> Path:
    """Let the simulated server write a channel, and return the path of ``channel.json``.

    The folder gets ``channel.json``, ``media/*.png``, ``truth.parquet`` and ``user.key``. Pictures
    that a stopped call has left are not drawn again. Each picture depends on the seed and the
    picture's number alone, so the export is the same, and an export with more requests begins with
    the same pictures. The folder must not hold an export made with other settings.

    Several processes divide the pictures and what people choose; the first writes the channel.

    Args:
        folder: where to write.
        server: the settings.
    """
    media = folder / "media"
    asked = simulate_requests(server.requests, server.images, server.seed)
    draw_pictures(asked, media, server)
    chosen, truth = let_people_choose(asked, media, server)
    first_does(lambda: _write_channel(folder, asked, chosen, truth, server))
    return folder / "channel.json"


def _write_channel(
    folder: Path,
    asked: Sequence[Request],
    chosen: Sequence[int],
    truth: pd.DataFrame,
    server: Server,
) -> None:
    """Write the damaged pictures, ``user.key``, ``truth.parquet`` and ``channel.json``."""
    media = folder / "media"
    messages = []
    for request, index in zip(asked, chosen, strict=True):
        messages += conversation(request, index, request.number * PACE, media)
    unfinished = round(server.noise * server.requests)
    messages += noise(unfinished, server.requests, server.seed, media)
    messages.sort(key=lambda message: int(message["id"]))
    with replacing(folder / "user.key") as part:
        part.write_text(f"simulated users need no secret, seed {server.seed}\n")
    write_table(folder / "truth.parquet", truth)
    write_json(folder / "channel.json", export(messages))


def draw_pictures(asked: Sequence[Request], media: Path, server: Server) -> None:
    """Draw the pictures of the requests that ``media`` does not hold yet.

    The model is loaded only if a picture is missing. Several processes divide the batches, and all
    return when all pictures are drawn.

    Raises:
        Problem: if the model draws pictures of another size than the judge knows.
    """
    jobs = []
    for request in asked:
        for name in request.files:
            seed = image_seed(server.seed, "server", name)
            jobs.append(Job(name, request.prompt, seed))
    drawing = Drawing(server.steps, server.guidance)
    finished = {job.id for job in jobs if (media / job.id).exists()}
    done = finished | left_to_others(jobs, drawing)
    if len(done) < len(jobs):
        pipeline = _pipeline_of(server)
        for job, picture in generate(pipeline, jobs, drawing, done):
            save_png(media / job.id, picture)
    wait()


def _pipeline_of(server: Server) -> StableDiffusionPipeline:
    """Return the simulated bot's model.

    Raises:
        Problem: if the model draws pictures of another size than the judge knows.
    """
    pipeline = load_pipeline(server.pipeline, server.device)
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    if side != SIZE:
        raise Problem(
            "The simulated people cannot judge this model's pictures.",
            expected=f"a model that draws {SIZE} pixels",
            found=f"{side} pixels",
            cause="another model than the miniature's",
            fix="leave stable_diffusion as it is, or take choices of your own (docs/data.md)",
        )
    return pipeline


def let_people_choose(
    asked: Sequence[Request], media: Path, server: Server
) -> tuple[list[int], pd.DataFrame]:
    """Return each request's chosen index, and the truth. Several processes divide the requests.

    Returns:
        The index of the chosen picture, per request; and the chance that a random person picks each
        picture: ``message_id`` of the answer, ``file_name``, ``p``.
    """
    judge = load_judge(Path(resolve(server.judge)))
    batches = [asked[start : start + JUDGED] for start in range(0, len(asked), JUDGED)]
    own = track(share(batches), what="people choose", unit="batch")
    chosen = []
    truth = []
    for indices, chances in gathered([_choose(batch, judge, media, server.seed) for batch in own]):
        chosen += indices
        truth += chances
    return chosen, pd.DataFrame(truth, columns=["message_id", "file_name", "p"])


def _choose(
    asked: Sequence[Request], judge: Judge, media: Path, seed: int
) -> tuple[list[int], list[tuple[str, str, float]]]:
    """Return the chosen index per request, and answer, file and chance of each picture."""
    pictures = []
    prompts = []
    for request in asked:
        pictures += [read_image(media / name) for name in request.files]
        prompts += [request.prompt] * request.count
    utilities = people.utilities(judge, pictures, prompts)
    ends = np.cumsum([request.count for request in asked])
    chosen = []
    truth = []
    for request, utility in zip(asked, np.split(utilities, ends[:-1]), strict=True):
        chances = people.luce(utility)
        rng = np.random.default_rng((seed, request.number, 1))
        chosen.append(people.choose(chances, rng))
        for name, chance in zip(request.files, chances.tolist(), strict=True):
            row = (request.answer_id, name, chance)
            truth.append(row)
    return chosen, truth
