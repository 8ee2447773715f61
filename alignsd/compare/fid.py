"""The Fréchet distance between generated and reference pictures (FID, Table 4 of the paper), with intervals."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchmetrics.image.fid import FrechetInceptionDistance

from alignsd.base.downloads import FAILED, told
from alignsd.base.errors import Problem, at_least, check_seed
from alignsd.base.images import BadImage, check_pixels, read_image
from alignsd.base.intervals import percentiles
from alignsd.base.paths import user_path
from alignsd.base.progress import track
from alignsd.base.reading import listed
from alignsd.models.registry import resolve, torch_device

COLUMNS = ["arm", "metric", "value", "low", "high", "n"]
REFERENCE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FEWEST = 2  # pictures of an arm, and of the reference: one picture has no covariance


class _JudgeFeatures(nn.Module):
    """The judge's features in the shape that torchmetrics asks of a network."""

    def __init__(self, judge: nn.Module, size: int):
        super().__init__()
        self.judge, self.num_features = judge, size

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features ``(n, 96)`` of pictures ``(n, 3, 64, 64)``, uint8.

        Raises:
            Problem: if the pictures have another size.
        """
        from alignsd.miniature.renderer import SIZE

        if tuple(pictures.shape[1:]) != (3, SIZE, SIZE):
            height, width = pictures.shape[2:]
            raise Problem(
                "The judge has no features of these images.",
                expected=f"{SIZE} x {SIZE} pixels, the miniature's size",
                found=f"{width} x {height} pixels",
                cause="images of another model, or pictures that were changed by hand",
                fix='set the notebook\'s parameter fid_features = "inception"',
            )
        return self.judge.features(pictures)


class _Cached(nn.Module):
    """Stands for a network whose features have been computed already: returns what it is given."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """Returns ``features`` ``(n, d)`` as they are."""
        return features


def feature_network(name: str) -> nn.Module:
    """Returns a network that turns pictures ``(n, 3, h, w)`` uint8 into features ``(n, d)``.

    Args:
        name: ``"inception"``, the paper's (2,048 features of Inception v3 as converted from TensorFlow's by torch-fidelity,
            pictures scaled to 299 x 299 by torchmetrics' antialiased bilinear filter), or ``"miniature/judge"`` or a judge's
            file (96 features: a Fréchet distance, but not Inception's, so comparable with no published FID).

    Raises:
        Problem: if Inception's weights cannot be fetched.
    """
    if name == "inception":
        return _inception()
    from alignsd.miniature.judge import FEATURES, load_judge

    return _JudgeFeatures(load_judge(Path(resolve(name))), FEATURES)


def _inception() -> nn.Module:
    try:
        return FrechetInceptionDistance(feature=2048).inception
    except (RuntimeError, EOFError, UnpicklingError, *FAILED) as error:  # the former if a download was cut off
        file = URL_INCEPTION_V3.rsplit("/", 1)[-1]
        raise Problem("The weights of Inception, for FID, could not be fetched.", expected=f"{file} from {URL_INCEPTION_V3}",
                      found=told(error), cause="no network, or the host is gone: docs/data.md",
                      fix=f"get the file where there is a network and put it into {Path(torch.hub.get_dir()) / 'checkpoints'}") from error


@torch.no_grad()
def features(network: nn.Module, pictures: Iterable[np.ndarray], batch: int = 128, device: str = "auto") -> np.ndarray:
    """Returns the features ``(n, d)``, float64, of pictures ``(h, w, 3)`` uint8, of which at most ``batch`` are held at a time.

    The pictures of one size in a batch go through the network together.

    Raises:
        ValueError: if a picture is no such array.
        Problem: if the network takes no pictures of this size, or ``batch`` is below 1.
    """
    at_least(1, batch=batch)
    place = torch_device(device)
    network, waiting, parts = network.to(place).eval(), iter(pictures), []
    while held := list(islice(waiting, batch)):
        for picture in held:
            check_pixels(picture)
        sizes = pd.Series([picture.shape for picture in held])
        found: dict[int, np.ndarray] = {}
        for rows in sizes.groupby(sizes, sort=False).groups.values():
            pixels = torch.from_numpy(np.stack([held[row] for row in rows])).permute(0, 3, 1, 2).contiguous()
            found |= zip(rows, network(pixels.to(place)).double().cpu().numpy(), strict=True)
        parts += [found[row] for row in range(len(held))]
    return np.stack(parts) if parts else np.empty((0, 0))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the Fréchet distance of two sets of features ``(n, d)`` and ``(m, d)``, by torchmetrics; n, m >= 2.

    ``|mean a - mean b|^2 + trace(A + B - 2 (A B)^(1/2))`` with the covariances A, B. It is 0 for equal sets and grows as
    the sets shrink, so compare only distances of equal n.
    """
    metric = FrechetInceptionDistance(feature=_Cached(a.shape[1]))
    metric.update(torch.from_numpy(np.asarray(b, dtype=np.float64)), real=True)
    metric.update(torch.from_numpy(np.asarray(a, dtype=np.float64)), real=False)
    return max(0.0, float(metric.compute()))


def moments(features: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean ``(d,)`` and covariance ``(d, d)`` of features ``(n, d)``.

    The i-th is taken ``counts[i]`` times; the counts add up to 2 or more.
    """
    total = counts.sum()
    mean = counts @ features / total
    centred = features - mean
    return mean, (centred * counts[:, None]).T @ centred / (total - 1)


def distance_of_moments(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, root_b: np.ndarray) -> float:
    """Returns the Fréchet distance from moments, ``root_b`` being the square root of B: symmetric, so real throughout."""
    squares = np.linalg.eigvalsh(root_b @ cov_a @ root_b)
    cross = np.sqrt(squares.clip(0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + (root_b**2).sum() - 2 * cross)


def square_root(covariance: np.ndarray) -> np.ndarray:
    """Returns the symmetric square root ``(d, d)`` of a covariance matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def resampled(arms: Mapping[str, pd.Series], reference: np.ndarray, seed: int, resamples: int) -> pd.DataFrame:
    """Returns bootstrap distances, one row per resample and one column per arm, from cached features alone.

    Ids are drawn once per resample for all arms, and the reference pictures with them: what two arms have in common, the
    same prompt and seed behind an id, stays out of the interval of their difference.

    Args:
        arms: arm -> features ``(d,)`` of each image, indexed by id. Arms may lack ids whose image was bad.
        reference: features ``(m, d)``.
        seed: of the resampling.
        resamples: how many.

    Returns:
        NaN where a resample holds fewer than two images of an arm.
    """
    stacked = {arm: np.stack(list(series)) for arm, series in arms.items()}
    ids = pd.Index(sorted(set().union(*(series.index for series in arms.values()))))
    places = {arm: ids.get_indexer(series.index) for arm, series in arms.items()}
    rng, even, rows = np.random.default_rng(seed), np.full(len(reference), 1 / len(reference)), []
    for _ in track(range(resamples), what="bootstrap of FID", unit="resample"):
        drawn = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)))
        mean, covariance = moments(reference, rng.multinomial(len(reference), even))
        root = square_root(covariance)
        counts = {arm: drawn[places[arm]] for arm in arms}
        enough = [arm for arm in arms if counts[arm].sum() >= FEWEST]
        found = {arm: moments(stacked[arm], counts[arm]) for arm in enough}
        rows.append({arm: distance_of_moments(*found[arm], mean, root) for arm in enough})
    return pd.DataFrame(rows, columns=list(arms), dtype=float)


def centred_interval(value: float, draws: np.ndarray) -> tuple[float, float]:
    """Returns the interval of a distance: the spread of its resamples, moved so that their mean is ``value``.

    A resample holds fewer distinct images than the set it comes from, and fewer images mean a larger distance: the plain
    percentiles lie above the value they belong to. What is wanted is how far another set of the same size would stray. The
    interval is about right where there are many more images than features, and too wide (1.5 times, at 60 images with 40
    features) where there are not. Resamples without a distance (NaN) do not count; without any
    resample the interval is the value alone.
    """
    draws = np.asarray(draws, dtype=float)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return value, value
    low, high = percentiles(draws - np.mean(draws) + value)
    return low, high


def table(features: pd.DataFrame, reference: np.ndarray, seed: int, resamples: int = 300,
          baseline: str = "original") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the FID of every arm, and its difference to the baseline arm.

    An arm of one picture has no FID and no row, and with a reference of one picture no arm has one;
    a warning says so.

    Args:
        features: ``arm, id, features``, a row per image with ``(d,)`` features; ``baseline`` among the arms.
        reference: features ``(m, d)`` of the reference pictures.
        seed: of the resampling.
        resamples: how many; 300 fix the ends of an interval to about a tenth of its width.
        baseline: the arm to compare with.

    Returns:
        Two tables with columns ``arm, metric, value, low, high, n``, metric being ``"fid"``.

    Raises:
        Problem: if no picture of the baseline is there, a feature is not finite, ``seed`` is out of
            range, ``resamples`` is below 1, or the features are of several networks.
    """
    check_seed(seed)
    at_least(1, fid_resamples=resamples)
    if features.empty:
        features = pd.DataFrame(columns=["arm", "id", "features"])
    by_arm = features.groupby("arm", sort=False)
    all_arms = {arm: rows.set_index("id")["features"] for arm, rows in by_arm}
    _refuse_unusable(all_arms, reference, baseline)
    arms = _large_enough(all_arms, reference)
    if not arms:
        return _rows([]), _rows([])
    draws = resampled(arms, reference, seed, resamples)
    values = {arm: distance(np.stack(list(series)), reference) for arm, series in arms.items()}
    own = [(arm, "fid", values[arm], *centred_interval(values[arm], draws[arm]), len(arms[arm])) for arm in arms]
    differences = []
    for arm in (name for name in arms if name != baseline and baseline in arms):
        gap = values[arm] - values[baseline]
        differences.append((arm, "fid", gap, *centred_interval(gap, draws[arm] - draws[baseline]), len(arms[arm])))
    own, differences = _rows(own), _rows(differences)
    return own.assign(low=own["low"].clip(lower=0)), differences


def _rows(rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=COLUMNS)
    kinds = {"value": float, "low": float, "high": float, "n": int}
    return table if rows else table.astype(kinds)


def _refuse_unusable(arms: Mapping[str, pd.Series], reference: np.ndarray, baseline: str) -> None:
    if baseline not in arms:
        raise Problem(
            f"FID cannot be compared with the arm {baseline}.",
            expected=f"at least one readable picture of the arm {baseline}",
            found=f"pictures of {', '.join(map(str, arms)) or 'no arm'}",
            cause="the pictures were moved away or damaged after they were drawn",
            fix="draw them anew: alignsd run --run NAME --force --from 06",
        )
    _refuse_other_lengths(arms, reference)
    broken = [arm for arm, series in arms.items() if not np.isfinite(np.stack(list(series))).all()]
    if len(reference) and not np.isfinite(reference).all():
        broken.append("the reference")
    if broken:
        raise Problem(
            "Some features of pictures are no numbers.",
            expected="finite features",
            found=f"NaN or infinity in {', '.join(map(str, broken))}",
            cause="damaged weights of the network that makes the features",
            fix="set fid_features of notebook 07 to a whole network",
        )


def _refuse_other_lengths(arms: Mapping[str, pd.Series], reference: np.ndarray) -> None:
    """Raise a Problem unless all features are lists of one length."""
    shapes = {np.shape(value) for series in arms.values() for value in series}
    if len(reference):
        shapes.add(np.shape(reference)[1:])
    if len(shapes) == 1 and len(next(iter(shapes))) == 1:
        return
    raise Problem(
        "The features of the pictures cannot be compared.",
        expected="one list of numbers per picture, all of one length",
        found="shapes " + ", ".join(map(str, sorted(shapes))),
        cause="the features of the pictures and of the reference come from different networks",
        fix="make both with one network: alignsd run --run <run> --force --from 07",
    )


def _large_enough(arms: Mapping[str, pd.Series], reference: np.ndarray) -> dict[str, pd.Series]:
    """Return the arms that can have an FID, and warn of the others."""
    if len(reference) < FEWEST:
        warnings.warn(
            f"no FID: it needs {FEWEST} reference pictures or more, and there are {len(reference)}",
            stacklevel=3,
        )
        return {}
    small = {arm: len(series) for arm, series in arms.items() if len(series) < FEWEST}
    if small:
        told_arms = ", ".join(f"{arm} has {count}" for arm, count in small.items())
        warnings.warn(
            f"no FID of some arms: it needs {FEWEST} pictures or more, and {told_arms}",
            stacklevel=3,
        )
    return {arm: series for arm, series in arms.items() if arm not in small}


def reference_pictures(source: str, prompts: Sequence[str], seed: int) -> tuple[Iterator[np.ndarray], Counter]:
    """Returns pictures ``(h, w, 3)`` uint8 to compare with, read one at a time, and how many were left out for which reason.

    The counts are complete when all pictures have been taken.

    Args:
        source: ``"miniature"``, for one render without a flaw per prompt, of that prompt's scene, which no model has seen;
            or a folder of images (the paper's reference set is not known to us).
        prompts: the prompts of the generated images.
        seed: of the renders' free variation.

    Raises:
        Problem: when the folder turns out to hold fewer than two readable images, or the seed is
            out of range.
    """
    check_seed(seed)
    left_out: Counter = Counter()
    if source == "miniature":
        return (_render(prompt, (seed, 0xF1D, number)) for number, prompt in enumerate(prompts)), left_out
    return _pictures_in(user_path(source), left_out), left_out


def _pictures_in(folder: Path, left_out: Counter) -> Iterator[np.ndarray]:
    found, cause, readable, files = None, "a wrong path, or damaged files", 0, []
    try:
        files = listed(folder, *REFERENCE_SUFFIXES, deep=True)
    except Problem as problem:
        found, cause = problem.found, problem.cause
    for path in files:
        try:
            picture = read_image(path)
        except BadImage as error:
            left_out[error.reason] += 1
            continue
        readable += 1
        yield picture
    if readable < FEWEST:
        raise Problem(
            "There are too few reference pictures for FID.",
            expected=f"a folder with at least {FEWEST} readable images",
            found=f"{found or readable} in {folder}, left out: {dict(left_out) or 'none'}",
            cause=cause,
            fix='set fid_reference of 07 to a folder of images, or to "miniature"; docs/data.md',
        )


def _render(prompt: str, seed: tuple[int, ...]) -> np.ndarray:
    """Returns a picture ``(64, 64, 3)`` of the prompt's scene without a flaw."""
    from alignsd.miniature.renderer import draw, random_look
    from alignsd.miniature.world import scene_of

    rng = np.random.default_rng(seed)
    return draw(scene_of(prompt), "none", random_look(rng), rng)
