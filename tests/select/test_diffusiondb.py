"""Parts of DiffusionDB: what is read, what is counted, what is refused."""

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alignsd.base.errors import Problem
from alignsd.base.images import BadImage
from alignsd.select import diffusiondb

ENTRY = {"p": "a cat", "se": 7, "c": 7.0, "st": 50, "sa": "k_lms"}


def encoded(value: int = 0, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, format=kind, **options)
    return buffer.getvalue()


def write_zip(path, members: dict[str, bytes], entries) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if entries is None:
            return
        content = entries if isinstance(entries, (str, bytes)) else json.dumps(entries)
        archive.writestr(f"{path.stem}.json", content)


@pytest.fixture
def part(tmp_path):
    """A part with one of every fault that is counted."""
    path = tmp_path / "images" / "part-000001.zip"
    members = {
        "good.png": encoded(9),
        "broken.png": encoded()[:40],
        "orphan.png": encoded(),
        "notes.txt": b"hello",
        "number.png": encoded(),
        "sub/good.png": encoded(1),
    }
    entries = {"good.png": ENTRY, "broken.png": ENTRY, "gone.png": ENTRY, "number.png": {"p": 3}}
    write_zip(path, members, entries)
    return path


def test_every_fault_is_a_row(part):
    status = diffusiondb.list_part(part).groupby("image")["status"].agg(list)
    assert status.to_dict() == {
        "good.png": ["ok", "repeated name"],
        "broken.png": ["ok"],
        "orphan.png": ["image without entry"],
        "notes.txt": ["foreign member"],
        "number.png": ["entry without prompt"],
        "gone.png": ["entry without image"],
    }


def test_prompt_and_seed_come_from_the_json(part):
    row = diffusiondb.list_part(part).iloc[0]
    assert row["part"] == "part-000001"
    assert row["image"] == "good.png"
    assert row["prompt"] == "a cat"
    assert row["seed"] == 7


def test_images_come_from_the_zip_or_say_why_not(part):
    members = ["good.png", "broken.png", "absent.png"]
    good, broken, absent = diffusiondb.read_members(part, members)
    assert good.shape == (4, 6, 3) and (good == 9).all()
    assert isinstance(broken, BadImage) and isinstance(absent, BadImage)


def test_a_flipped_byte_fails_the_checksum(tmp_path):
    path = tmp_path / "part-000001.zip"
    write_zip(path, {"a.png": encoded(3), "b.png": encoded(4)}, {})
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 0xFF
    path.write_bytes(bytes(content))
    first, second = diffusiondb.read_members(path, ["a.png", "b.png"])
    assert isinstance(first, BadImage) and (second == 4).all()


@pytest.mark.parametrize("entries", [None, "[1, 2]", "{", b"\xff\xfe\x00"])
def test_a_part_without_usable_json_is_a_problem(tmp_path, entries):
    write_zip(tmp_path / "part-000001.zip", {"a.png": encoded()}, entries)
    with pytest.raises(Problem, match=r"no usable part-000001\.json"):
        diffusiondb.list_part(tmp_path / "part-000001.zip")


@pytest.mark.parametrize("content", [b"", b"no zip", "cut"])
def test_a_zip_that_cannot_be_opened_is_a_problem(part, content):
    part.write_bytes(part.read_bytes()[:-30] if content == "cut" else content)
    with pytest.raises(Problem, match="cannot be opened"):
        diffusiondb.list_part(part)


def test_half_a_surrogate_pair_does_not_reach_the_tables(tmp_path):
    path = tmp_path / "part-000001.zip"
    entries = '{"a.png": {"p": "cat \\ud83d"}, "\\ud83d.png": {"p": "x", "se": 1e400}}'
    write_zip(path, {"a.png": encoded()}, entries)
    table = diffusiondb.list_part(path)
    table.to_parquet(tmp_path / "table.parquet")
    assert table["prompt"].tolist() == ["cat ?", "x"] and table["seed"].isna().all()


def test_the_large_set_has_webp_and_two_folders(tmp_path):
    first, second = (tmp_path / f"diffusiondb-large-part-{number}" for number in (1, 2))
    write_zip(second / "part-010001.zip", {"b.webp": encoded(5, "WEBP")}, {"b.webp": ENTRY})
    write_zip(first / "part-000002.zip", {"a.webp": encoded(6, "WEBP")}, {"a.webp": ENTRY})
    (first / "part-2.zip").write_bytes(b"")
    assert list(diffusiondb.find_parts(tmp_path)) == ["part-000002", "part-010001"]
    rows = pd.DataFrame({"part": ["part-010001", "part-000002"], "image": ["b.webp", "a.webp"]})
    pictures = dict(diffusiondb.read_pictures(tmp_path, rows))
    brightness = {name: int(image.max()) for name, image in pictures.items()}
    assert brightness == {"a.webp": 6, "b.webp": 5}


def test_a_part_that_is_a_link_to_nothing_is_told(part):
    (part.parent / "part-000009.zip").symlink_to("../blobs/5f")
    parts = diffusiondb.find_parts(part.parent.parent)
    with pytest.raises(Problem, match=r"(?s)part-000009.zip.*a link to a file that is not there"):
        diffusiondb.list_part(parts["part-000009"])


def test_both_sets_in_one_folder_are_a_problem(part):
    write_zip(part.parent.parent / "diffusiondb-large-part-1" / part.name, {}, {})
    with pytest.raises(Problem, match="2M and Large"):
        diffusiondb.find_parts(part.parent.parent)


def test_no_parts_are_a_problem(tmp_path):
    with pytest.raises(Problem, match="no DiffusionDB parts"):
        diffusiondb.find_parts(tmp_path)
    with pytest.raises(Problem, match="does not exist"):
        diffusiondb.parts_folder(str(tmp_path / "nowhere"))


def test_read_pictures_refuses_a_part_that_was_replaced(part):
    replaced = pd.DataFrame({"part": ["part-000001"], "image": ["other.png"]})
    with pytest.raises(Problem, match="(?s)not the part that was scored.*--force 03"):
        list(diffusiondb.read_pictures(part.parent, replaced))
    moved_away = pd.DataFrame({"part": ["part-000002"], "image": ["good.png"]})
    with pytest.raises(Problem, match=r"(?s)part-000002\.zip is missing.*--force 03"):
        list(diffusiondb.read_pictures(part.parent, moved_away))


def test_an_image_that_claims_to_be_huge_is_not_unpacked(part, monkeypatch):
    monkeypatch.setattr(diffusiondb, "MAX_BYTES", 10)
    (image,) = diffusiondb.read_members(part, ["good.png"])
    assert isinstance(image, BadImage)


def test_metadata_reads_named_columns_and_refuses_other_tables(tmp_path):
    kinds = diffusiondb.METADATA.items()
    table = pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in kinds})
    table.to_parquet(tmp_path / "metadata.parquet")
    assert list(diffusiondb.read_metadata(tmp_path / "metadata.parquet", ["prompt"])) == ["prompt"]
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    for name in ("other", "text", "absent"):
        with pytest.raises(Problem, match="not DiffusionDB's metadata"):
            diffusiondb.read_metadata(tmp_path / f"{name}.parquet")
