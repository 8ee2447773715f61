"""The package offers what README's three lines use, and imports torch only when asked."""

import re
import subprocess
import sys

import numpy as np
import pytest

import alignsd
from alignsd.base.paths import root
from alignsd.models.clip import embed_images, embed_texts, load_clip
from alignsd.models.files.weights import write_tensors


def test_the_three_lines_of_the_readme_score_an_image(tmp_path):
    readme = (root() / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(import alignsd\n.*?)\n```", readme, re.DOTALL)
    clip = load_clip("miniature/clip", device="cpu")
    write_tensors(tmp_path / "hps.safetensors", clip.model.state_dict())
    lines = re.sub(r'weights=".*?"', f"weights={str(tmp_path / 'hps.safetensors')!r}", lines)
    *statements, expression = lines.splitlines()
    assert len(statements) == 2
    names = {"image": np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)}
    exec("\n".join(statements), names)
    (score,) = eval(expression, names)
    (prompt,) = re.findall(r'\["(.*?)"\]', expression)
    cosine = (embed_images(clip, [names["image"]]) @ embed_texts(clip, [prompt]).T).item()
    assert score == pytest.approx(100 * cosine, abs=1e-3)


def test_importing_the_package_imports_neither_torch_nor_pandas():
    command = "import sys, alignsd; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_name_that_the_package_does_not_offer_is_an_attribute_error():
    assert set(alignsd.__all__) == {"load_clip", "score"}
    with pytest.raises(AttributeError, match="no attribute 'load_clap'"):
        alignsd.load_clap  # noqa: B018  the access is what is tested
