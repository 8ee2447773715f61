"""Several processes divide the heavy work of the notebooks: the same results as one process."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from launched import launched
from PIL import Image

from alignsd.base.atomic import sweep

# The work of notebooks 01 to 07, with the shipped miniature, in a folder named by OUT. Shares
# differ in size everywhere, so that a mistake in the order of the results is seen.
SCRIPT = """
import json, os
from dataclasses import replace
from pathlib import Path
import numpy as np
import pandas as pd
import torch
from alignsd import sources
from alignsd.adapt import examples as latents, lora, webshards
from alignsd.adapt.regularization import Rater, Wanted, regularization_pictures
from alignsd.base import processes
from alignsd.base.images import read_image
from alignsd.collect import channel, hpd
from alignsd.compare import features, fid, generation, image_metrics
from alignsd.miniature import server as bot
from alignsd.models.aesthetic import load_aesthetic
from alignsd.models.clip import load_clip
from alignsd.models.stable_diffusion import Drawing, Job, load_pipeline
from alignsd.models.training import Checkpointing
from alignsd.reward import hps
from alignsd.select import imagefolder, scoring

out = Path(os.environ["OUT"])
results = {}
written = []
rename = os.replace

def noting(source, target):
    written.append(Path(target).relative_to(out).as_posix())
    rename(source, target)

os.replace = noting  # every file is written under another name first
SD, JUDGE = "miniature/stable-diffusion", "miniature/judge"
bot.JUDGED = 2
hps.AT_ONCE = 7
latents.PER_FILE = 4

settings = dict(requests=14, images=4, steps=1, guidance=2.0, seed=0, noise=1.0, device="cpu")
server = sources.Server(pipeline=SD, judge=JUDGE, **settings)
(export,) = sources.export("miniature", out / "export", server)
asked = channel.parse([export], "").choices
choices, origin, left = hpd.write_pictures(asked, out / "hpd")
results["choices"] = (choices, origin, left)

clip = load_clip("miniature/clip", device="cpu")
results["scores of choices"] = hps.score_choices(clip, choices, out / "hpd")
recipe = hps.HpsRecipe(
    batch=3, learning_rate=1e-4, initial_scale=30.0, weight_decay=1e-3, mirror=True, seed=0,
    image_groups=2, text_layers=2, epochs=1.0,
)
tuned = load_clip("miniature/clip", device="cpu")
hps.unlock(tuned.model, 2, 2)
writes = Checkpointing(out / "hps.pt", every=8)
results["losses of hps"] = []
for step, loss in hps.train_hps(tuned, choices, out / "hpd", recipe, 24, writes):
    results["losses of hps"].append(loss)
    if os.environ["LOST"] == f"{processes.number()} in step {step}":
        os._exit(9)
weights = torch.cat([value.flatten() for value in tuned.model.parameters()])
results["sum of weights"] = float(weights.double().sum())

recipe = sources.CorpusRecipe(prompts=3, fewest=2, most=3, few_share=0, parts=3)
sources.parts("miniature", out / "db", recipe, SD, Drawing(1, 1.0, batch=2), "cpu")
scored = scoring.score_parts(out / "db", out / "scores", clip, batch=2)
results["scores of parts"] = scored

shards = webshards.unpack_shards(Path(os.environ["SHARDS"]), out / "web")
rater = Rater("miniature/clip", "miniature/aesthetic", "cpu")
rated, left_out = regularization_pictures(out / "web", Wanted(5, 1.0, rater, batch=2))
results["web"] = (shards, rated.drop(columns="folder"), left_out)

rows = rated[["file_name", "text"]].assign(file_name=[f"a/{i}.png" for i in range(len(rated))])
source = dict(zip(rows["file_name"], rated["file_name"]))
read = lambda missing: ((n, read_image(out / "web" / source[n])) for n in missing["file_name"])
results["imagefolder"] = imagefolder.write_imagefolder(out / "imagefolder", rows, read)

pipeline = load_pipeline(SD, "cpu")
pictures = rated.assign(label=["negative", "positive"] * 2 + ["negative"])
encoded = latents.encode_examples(pipeline, pictures, 64, 0, out / "latents", batch=3)
recipe = lora.LoraRecipe(
    identifier="Weird image. ", identifier_alone=0.5, steps=24, batch=3, micro_batch=1,
    learning_rate=1e-3, schedule="cosine", weight_decay=1e-2, snr_gamma=1.0, rank=4, seed=0,
)
losses = []
job = [Job("a", "a cat", 1)]
adapted = out / "adapted"
for step, loss, trained in lora.adapt(SD, "cpu", encoded, recipe, adapted, {}):
    losses.append(loss)
    if step == 0:
        results["samples"] = lora.sample(trained, job, 0, out / "samples", Drawing(1, 1.0))
results["losses of lora"] = losses
few_steps = replace(recipe, steps=4)
results["rank"] = lora.try_rank(load_pipeline(SD, "cpu"), encoded, few_steps)

prompts = sources.prompts("miniature", 3, 0)
plan = generation.plan(prompts, "Weird image. ", 1, 0, [""])
generation.draw(plan, SD, {"": None}, out / "images", Drawing(1, 2.0, batch=2), "cpu")
processes.first_does((out / "images" / plan["file"].iloc[3]).unlink)  # a bad image
judge = sources.judge(JUDGE)
network = sources.feature_network(JUDGE)
aesthetic = load_aesthetic("miniature/aesthetic")
models = image_metrics.Scorers(clip, clip, aesthetic, judge=judge, network=network, device="cpu")
metrics, measured = image_metrics.measure(plan, out / "images", models, batch=2)
pictures = [read_image(path) for path in sorted((out / "hpd").rglob("*.jpg"))]
reference = features.picture_features(network, pictures, batch=4, device="cpu")
of_arm = pd.Series(list(np.random.default_rng(0).normal(size=(9, 3))))
few = np.random.default_rng(1).normal(size=(8, 3))
results["metrics"] = (metrics, measured, reference, fid.resampled({"arm": of_arm}, few, 0, 5))

results["distance"] = fid.distance(few, 2 * few)

def plain(value):
    if isinstance(value, pd.DataFrame):
        return [plain(value.dtypes.astype(str)), *(plain(value[name]) for name in value)]
    if isinstance(value, pd.Series):
        return [plain(list(value.index)), plain(list(value))]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)

file = Path(os.environ["RESULTS"]) / f"{processes.number()}.json"
file.write_text(json.dumps([plain(results), written]))
"""

ABOUT = ("losses of hps", "sum of weights", "losses of lora", "rank")  # equal within rounding


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Three shards of two captioned pictures each."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    for number in range(3):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as archive:
            for key in range(2):
                pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, "PNG")
                for suffix, content in ((".png", picture.getvalue()), (".txt", b"a cat")):
                    member = tarfile.TarInfo(f"{key}{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return folder


def launch(folder: Path, shards: Path, processes: int, lost: str = ""):
    """Do all work in a launch, and return the launch's end.

    Args:
        folder: gets the folder ``out``, and what each process found.
        shards: the shards to unpack.
        processes: number of processes.
        lost: which process is lost, in which step of HPS's training.
    """
    (folder / "out").mkdir(exist_ok=True)
    environment = {"OUT": str(folder / "out"), "RESULTS": str(folder), "SHARDS": str(shards)}
    return launched(SCRIPT, folder, processes, **environment, LOST=lost)


def ended(folder: Path, end, processes: int):
    """Return the results of each process of a launch, and the names of the files it wrote."""
    assert end.returncode == 0, end.stderr[-4000:]
    return [json.loads((folder / f"{number}.json").read_text()) for number in range(processes)]


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder, hidden files included."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def assert_same_results(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name in ABOUT:
            assert found[name] == pytest.approx(value, rel=1e-4), name
        else:
            # As text: NaN equals NaN, and a number is equal to the last bit.
            assert json.dumps(found[name]) == json.dumps(value), name


def is_trained(name: str) -> bool:
    """Return whether a file follows from a training, which is the same only within rounding."""
    return name.startswith(("adapted/", "samples/")) or name == "hps.pt"


def assert_same_files(found: Path, expected: Path):
    own, other = files_in(found), files_in(expected)
    assert own.keys() == other.keys()
    different = [name for name in other if own[name] != other[name] and not is_trained(name)]
    assert different == []


def test_processes_divide_the_work_and_go_on_where_another_number_was_stopped(tmp_path, shards):
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    ((expected, _),) = ended(alone, launch(alone, shards, 1), 1)

    stopped = launch(together, shards, 3, lost="1 in step 12")
    assert stopped.returncode != 0
    out = together / "out"
    assert (out / "hps.pt").exists() and not (out / "scores").exists()
    drawn = sorted((out / "export" / "media").iterdir())
    for picture in (drawn[0], drawn[-1]):
        picture.unlink()  # as if the drawing had been stopped as well
    sweep(out)  # as the next run of the stage does

    ends = ended(together, launch(together, shards, 2), 2)
    (first, of_first), (second, of_second) = ends
    for name in ABOUT:
        assert first[name] == second[name], "both processes hold the same weights"
    assert_same_results(first, expected)
    assert_same_results(second, expected)
    assert_same_files(out, alone / "out")
    assert set(of_first).isdisjoint(of_second), "each file is written by one process"
    for folder in ("hpd", "db/images", "scores", "web", "imagefolder", "latents", "images"):
        for names in (of_first, of_second):
            assert any(name.startswith(f"{folder}/") for name in names), folder
