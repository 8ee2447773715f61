"""Subsets of DiffusionDB by name, and downloads that go on where they stopped."""

import json
import zipfile

import pandas as pd
import pytest
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError

from alignsd import cli
from alignsd.base.errors import Problem
from alignsd.select import fetch as db
from alignsd.select.diffusiondb import find_parts

GROUPS = [("often", 2)] * 3 + [("often", 5)] + [("seldom", 3)] * 3 + [("elsewhere", 9)] * 4


@pytest.fixture
def hub(monkeypatch):
    """A hub with every part; ``asked`` lists what was fetched from it, ``broken`` breaks it off."""

    class Hub:
        asked, broken, commit = [], False, "a" * 40

        def repo_info(self, repository, repo_type, revision):
            if self.broken:
                # What the hub's client raises without a network; no OSError.
                raise HTTPError("no route to host")
            return type("Info", (), {"sha": self.commit})

        def download(self, repository, file, repo_type, revision, local_dir):
            if self.broken:
                raise LocalEntryNotFoundError("no route to host")
            self.asked.append((file, revision))
            (local_dir / file).parent.mkdir(parents=True, exist_ok=True)
            if file.endswith(".parquet"):
                table = pd.DataFrame(GROUPS, columns=["prompt", "part_id"])
                return table.to_parquet(local_dir / file)
            with zipfile.ZipFile(local_dir / file, "w") as archive:
                archive.writestr("part.json", "{}")

    found = Hub()
    found.asked = []
    monkeypatch.setattr(db, "HfApi", lambda: found)
    return found


def test_the_paper_s_subset_is_parts_2_to_1001():
    assert db.subset_parts("large_first_1m") == range(2, 1002)
    assert db.part_file("large_first_1m", 2) == "diffusiondb-large-part-1/part-000002.zip"
    assert db.part_file("large_first_1m", 10_001) == "diffusiondb-large-part-2/part-010001.zip"
    assert db.part_file("2m_first_1k", 2) == "images/part-000002.zip"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("large_random_1k", "cannot be made again"),
        ("large_first", "no subset"),
        ("huge_first_1k", "no subset"),
        ("2m_first_3m", "no subset"),
    ],
)
def test_names_without_a_meaning_are_refused(name, fault):
    with pytest.raises(Problem, match=fault):
        db.subset_parts(name)


def test_a_range_must_lie_in_the_subset():
    assert db.choose("large_first_1m", "2-31") == list(range(2, 32))
    for wrong in ("1-3", "5-2", "2-1002", "all"):
        with pytest.raises(Problem, match="no such parts"):
            db.choose("large_first_1m", wrong)


def test_only_what_is_missing_or_cut_short_is_fetched(hub, tmp_path):
    db.fetch("large_first_1m", [2, 3], tmp_path, download=hub.download)
    cut = tmp_path / db.part_file("large_first_1m", 3)
    cut.write_bytes(cut.read_bytes()[:20])
    hub.asked.clear()
    db.fetch("large_first_1m", [2, 3, 4], tmp_path, download=hub.download)
    assert [file[-10:] for file, _ in hub.asked] == ["000003.zip", "000004.zip"]
    assert list(find_parts(tmp_path)) == ["part-000002", "part-000003", "part-000004"]


def test_a_download_that_goes_on_keeps_its_revision(hub, tmp_path):
    db.fetch("2m_first_1k", [2], tmp_path, download=hub.download)
    hub.commit = "b" * 40
    db.fetch("2m_first_2k", [2, 3], tmp_path, download=hub.download)
    assert {revision for _, revision in hub.asked} == {"a" * 40}
    assert json.loads((tmp_path / db.PINNED).read_text())["commit"] == "a" * 40
    with pytest.raises(Problem, match="Another revision"):
        db.fetch("2m_first_3k", [4], tmp_path, revision="c" * 40, download=hub.download)


def test_without_network_the_message_names_file_and_place(hub, tmp_path):
    db.pinned_revision(tmp_path, "main")
    hub.broken = True
    with pytest.raises(Problem, match="could not be fetched") as problem:
        db.fetch("2m_first_1k", [2], tmp_path, download=hub.download)
    assert "images/part-000002.zip of DiffusionDB" in str(problem.value)
    assert str(tmp_path / "images" / "part-000002.zip") in str(problem.value)
    with pytest.raises(Problem, match="Revision main of DiffusionDB could not be fetched"):
        db.fetch("2m_first_1k", [2], tmp_path / "other", download=hub.download)
    with pytest.raises(Problem, match="metadata-large.parquet of DiffusionDB could not be fetched"):
        db.fetch_metadata("large_first_1m", tmp_path, download=hub.download)


def test_a_disk_too_small_says_so_at_once(hub, tmp_path):
    with pytest.raises(Problem, match="disk is too small"):
        db.require_space(tmp_path / "not" / "yet", 10**9)


def test_the_metadata_is_fetched_once_at_the_revision_of_the_parts(hub, tmp_path):
    db.fetch("large_first_1k", [2], tmp_path, download=hub.download)
    hub.commit = "b" * 40
    for _ in range(2):
        table = db.fetch_metadata("large_first_1m", tmp_path, download=hub.download)
        assert table == tmp_path / "metadata-large.parquet"
    assert hub.asked[1:] == [("metadata-large.parquet", "a" * 40)]
    other = db.fetch_metadata("2m_first_1k", tmp_path, download=hub.download)
    assert other.name == "metadata.parquet"


def metadata(folder, rows):
    table = pd.DataFrame(rows, columns=["prompt", "part_id"]).astype({"part_id": "uint16"})
    table.to_parquet(folder / "metadata.parquet")
    return folder / "metadata.parquet"


def test_parts_without_groups_of_four_are_left_out(tmp_path):
    assert db.parts_with_groups(metadata(tmp_path, GROUPS), range(2, 7), 4) == ([2, 5], 1)
    assert db.parts_with_groups(metadata(tmp_path, GROUPS), range(4, 7), 4) == ([], 0)


def test_the_parts_that_most_prompts_need_are_kept(tmp_path):
    rows = []
    for part, prompts in ((2, 3), (3, 1), (4, 2)):
        for i in range(prompts):
            rows += [(f"together {part}-{i}", part)] * 4
    # One prompt that needs four parts; each of these parts holds no other prompt.
    rows += [("spread", part) for part in (5, 6, 7, 8)]
    table = metadata(tmp_path, rows)

    def kept(most):
        return db.parts_with_groups(table, range(2, 9), 4, most)

    assert kept(0) == ([2, 3, 4, 5, 6, 7, 8], 7)
    assert kept(7) == ([2, 3, 4, 5, 6, 7, 8], 7)
    assert kept(3) == ([2, 3, 4], 6)
    assert kept(2) == ([2, 4], 5)
    assert kept(1) == ([2], 3)


def test_an_image_more_than_enough_does_not_tie_a_prompt_to_a_part(tmp_path):
    rows = [("five", 2)] * 4 + [("five", 3)] + [("other", 4)] * 4
    assert db.parts_with_groups(metadata(tmp_path, rows), range(2, 5), 4, 2) == ([2, 4], 2)


def test_the_command_chooses_by_prompts_and_only_says_so(tmp_path, capsys):
    metadata(tmp_path, GROUPS).rename(tmp_path / "metadata-large.parquet")
    cli.fetch(tmp_path, parts="2-9", prompts_first=True, most=1, dry_run=True)
    said = capsys.readouterr().out
    assert said.startswith("1 prompts have at least 4 images; they lie in 1 parts")
    assert [path.name for path in tmp_path.iterdir()] == ["metadata-large.parquet"]
