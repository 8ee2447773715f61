"""Tasks about measuring: the Fréchet distance, the interval of a share, and sharpness."""

import math

import numpy as np

from alignsd.teach.tasks.task import Slip, Task, numbers

Array = np.ndarray
Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


def tasks() -> dict[str, Task]:
    """Return the tasks by name."""
    return {"fid": _fid_task(), "wilson": _wilson_task(), "sharpness": _sharpness_task()}


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a covariance matrix."""
    decomposed = np.linalg.svd(covariance)
    vectors = decomposed.U
    roots = np.sqrt(decomposed.S)
    return vectors * roots @ vectors.T


def fid(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
    """Return the Fréchet distance of two normal distributions."""
    # trace((C1 C2)^(1/2)) is the sum of the singular values of C1^(1/2) C2^(1/2).
    product = _root(cov1) @ _root(cov2)
    cross = float(np.linalg.norm(product, ord="nuc"))
    return _without_root(mean1, cov1, mean2, cov2) - 2 * cross


def _fid_task() -> Task:
    turned = numbers(2, 0.8, 0.8, 1).reshape(2, 2)
    other = numbers(1, -0.5, -0.5, 3).reshape(2, 2)
    zero = numbers(0, 0)
    two = numbers(1, 2)
    along_the_axes = zero, np.diag([4.0, 1]), numbers(3, 4), np.diag([1.0, 9])
    same = two, turned, two, turned
    flat = two, np.ones((2, 2)), zero, np.eye(2)  # one direction has no variance
    cases = ((zero, turned, two, other), along_the_axes, same, flat)

    def root_of_entries(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
        product = cov1 @ cov2
        trace = np.sqrt(np.diag(product)).sum()
        return _without_root(mean1, cov1, mean2, cov2) - 2 * float(trace)

    def product_of_entries(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
        product = cov1 * cov2
        trace = np.sqrt(np.diag(product)).sum()
        return _without_root(mean1, cov1, mean2, cov2) - 2 * float(trace)

    slips = (
        Slip(
            "np.sqrt takes the root of each entry. The square root of a matrix is another matrix: "
            "sum the square roots of the eigenvalues of cov1 @ cov2.",
            root_of_entries,
        ),
        Slip(
            "cov1 * cov2 multiplies entry by entry. The product of matrices is cov1 @ cov2.",
            product_of_entries,
        ),
        Slip(
            "The distance of the means is squared.",
            lambda m1, c1, m2, c2: fid(m1, c1, m1, c2) + math.dist(m1, m2),
        ),
        Slip(
            "This is the square root of FID. FID is the squared distance.",
            lambda m1, c1, m2, c2: math.sqrt(max(0.0, fid(m1, c1, m2, c2))),
        ),
        Slip(
            "The last term is missing: subtract twice the trace of the root of cov1 @ cov2.",
            _without_root,
        ),
        Slip(
            "The factor 2 of the last term is missing.",
            lambda *moments: (fid(*moments) + _without_root(*moments)) / 2,
        ),
        Slip(
            "This is only the distance of the means. The covariances count as well.",
            lambda m1, c1, m2, c2: ((m1 - m2) ** 2).sum(),
        ),
        Slip(
            "The means do not count. Add the squared distance of the means.",
            lambda m1, c1, m2, c2: fid(m1, c1, m1, c2),
        ),
    )
    hint = "FID: |mean1 - mean2|^2 + trace(cov1 + cov2 - 2 (cov1 cov2)^(1/2))."
    return Task(fid, cases, slips, hint, relative=1e-4, absolute=1e-5)


def _without_root(mean1: Array, cov1: Array, mean2: Array, cov2: Array) -> float:
    """Return the distance without the last term, that of the matrices' root."""
    shift = math.dist(mean1, mean2)
    both = np.trace(cov1 + cov2)
    return shift**2 + float(both)


def wilson(successes: int, n: int, z: float = Z) -> tuple[float, float]:
    """Return Wilson's interval: the shares p with |successes / n - p| = z sqrt(p (1 - p) / n)."""
    # (n + z^2) p^2 - (2 successes + z^2) p + successes^2 / n = 0
    a = n + z * z
    b = 2 * successes + z * z
    c = successes**2 / n
    reach = math.sqrt(b * b - 4 * a * c)
    low = (b - reach) / (2 * a)
    high = (b + reach) / (2 * a)
    return low, high


def _wilson_task() -> Task:
    cases = ((5, 10), (331, 1000), (2, 7), (0, 10), (10, 10))

    def normal(successes: int, n: int) -> tuple[float, float]:
        share = successes / n
        variance = share * (1 - share) / n
        half = Z * math.sqrt(variance)
        return share - half, share + half

    def clipped(successes: int, n: int) -> tuple[float, float]:
        low, high = normal(successes, n)
        return max(0.0, low), min(1.0, high)

    def around_the_share(successes: int, n: int) -> tuple[float, float]:
        low, high = wilson(successes, n)
        half = (high - low) / 2
        share = successes / n
        return share - half, share + half

    def in_percent(successes: int, n: int) -> tuple[float, float]:
        low, high = wilson(successes, n)
        return 100 * low, 100 * high

    plain = (
        "This is the plain normal interval. It has no width at 0 of 10, where a share of 10 % is "
        "well possible. Wilson's interval adds z^2 / n."
    )
    slips = (
        Slip(plain, normal),
        Slip(plain, clipped),
        Slip(
            "The centre of Wilson's interval is not the share: the centre is "
            "(share + z^2 / (2 n)) / (1 + z^2 / n).",
            around_the_share,
        ),
        Slip("These are percent. Return numbers from 0 to 1.", in_percent),
        Slip(
            "You return (high, low). The lower end comes first.",
            lambda successes, n: wilson(successes, n)[::-1],
        ),
        Slip(
            "This is the interval of 90 %. At 95 % z is 1.96.",
            lambda successes, n: wilson(successes, n, 1.644854),
        ),
        Slip(
            "This is the interval of 99 %. At 95 % z is 1.96.",
            lambda successes, n: wilson(successes, n, 2.575829),
        ),
    )
    hint = (
        "Wilson: (share + z^2 / (2 n) ± z sqrt(share (1 - share) / n + z^2 / (4 n^2))) / "
        "(1 + z^2 / n), with z = 1.96."
    )
    return Task(wilson, cases, slips, hint, relative=1e-3, absolute=1e-4)


def sharpness(picture: Array) -> float:
    """Return the greatest difference of two neighbouring pixels, in any colour."""
    pixels = picture.astype(float)
    across = abs(pixels[:, 1:] - pixels[:, :-1])
    down = abs(pixels[1:] - pixels[:-1])
    return float(max(across.max(), down.max()))


def _sharpness_task() -> Task:
    grey = np.full((3, 4, 3), 100, np.uint8)
    brighter, darker, lower, coloured = grey.copy(), grey.copy(), grey.copy(), grey.copy()
    brighter[:, 2:] = 112
    darker[:, 2:] = 30
    lower[1:] = 180
    coloured[1, 1, 2] = 255  # in one colour alone, which the mean of the colours hides
    cases = ((brighter,), (darker,), (lower,), (coloured,), (grey,))
    slips = (
        Slip(
            "The type uint8 knows no numbers below 0: 100 - 112 becomes 244. "
            "Turn the picture into another type first, such as picture.astype(int).",
            lambda picture: float(
                max(np.diff(picture, axis=1).max(), np.diff(picture, axis=0).max())
            ),
        ),
        Slip(
            "Neighbours lie side by side and one above the other: compare both.",
            lambda picture: float(abs(np.diff(picture.astype(int), axis=1)).max()),
        ),
        Slip(
            "A pixel can be darker than its left or upper neighbour: take the difference "
            "without its sign.",
            _with_sign,
        ),
        Slip(
            "Compare each colour by itself. The mean of the colours hides a difference.",
            lambda picture: sharpness(picture.mean(axis=2, keepdims=True)),
        ),
    )
    hint = "Take all differences of neighbours, to the right and down, in each colour."
    return Task(sharpness, cases, slips, hint)


def _with_sign(picture: Array) -> float:
    pixels = picture.astype(int)
    return float(max(np.diff(pixels, axis=1).max(), np.diff(pixels, axis=0).max()))
