"""Files of weights whose bytes were changed at random: our own error, or finite tensors."""

import io

import pytest
import torch
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from alignsd.base.errors import Problem
from alignsd.models.aesthetic import Aesthetic, load_aesthetic
from alignsd.models.files import weights

GOOD = {"weight": torch.arange(64.0)[None], "bias": torch.ones(1)}


def written(**options):
    stream = io.BytesIO()
    torch.save(GOOD, stream, **options)
    return stream.getvalue()


WHOLE = {
    "new": written(),
    "old": written(_use_new_zipfile_serialization=False),
    "safetensors": save(GOOD),
}


@settings(max_examples=100 * CASES)
@given(
    layout=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8)), max_size=3
    ),
    kept=st.floats(0, 1) | st.just(1.0),
    suffix=st.sampled_from([".pt", ".safetensors", ".bin"]),
)
def test_changed_bytes_give_an_error_or_finite_numbers(
    tmp_path_factory, layout, changes, kept, suffix
):
    content = bytearray(WHOLE[layout])
    for place, replacement in changes:
        start = int(place * len(content))
        content[start : start + len(replacement)] = replacement
    path = tmp_path_factory.getbasetemp() / f"changed{suffix}"
    path.write_bytes(content[: round(kept * len(content))])
    try:
        tensors = weights.read_tensors(path, "weights")
        predictor = load_aesthetic(str(path))
    except Problem as problem:
        assert "weights_only" not in str(problem) and len(str(problem).splitlines()) == 5
        return
    assert all(value.isfinite().all() for value in tensors.values())
    assert isinstance(predictor, Aesthetic)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(list(GOOD.values())),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_anything_that_torch_saves_gives_an_error_or_tensors_by_name(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.pt"
    torch.save(value, path)
    try:
        tensors = weights.read_tensors(path, "weights")
    except Problem as problem:
        assert "weights_only" not in str(problem)
        return
    assert tensors and all(isinstance(name, str) for name in tensors)


@pytest.mark.parametrize(
    "name", ["\ud800.pt", "a\nb.pt", "x" * 300, "/etc/passwd", "/dev/null", "/"]
)
def test_odd_paths_give_our_own_error(tmp_path, name):
    with pytest.raises(Problem):
        weights.read_tensors(tmp_path / name, "weights")
    with pytest.raises(Problem):
        load_aesthetic(name)
