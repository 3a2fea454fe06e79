"""Results that several studies share: made once, and complete in each of them."""

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from triplet_distillation import sharing
from triplet_distillation.files import read_json
from triplet_distillation.provenance import file_digest
from triplet_distillation.sharing import identity, make_once, remove_broken_links


class Study:
    """A study with one job of two outputs, which counts how often it made them."""

    def __init__(self, root, name):
        self.root, self.made = root, 0
        self.folder = root / name
        self.outputs = {"store": str(self.folder / "a/0.bin"), "table": str(self.folder / f"{name}.csv")}

    def run(self, settings=1, folder="shared/align", fails=False):
        for path in self.outputs.values():  # as Snakemake does
            (self.root / path).unlink(missing_ok=True)
        make_once(folder and str(self.root / folder), lambda: {"settings": settings}, self.outputs, self._maker(fails))

    def _maker(self, fails):
        def make():
            self.made += 1
            for path in map(Path, self.outputs.values()):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"by {self.folder.name}")
            if fails:
                raise ValueError("failed")

        return make

    def contents(self):
        return [Path(path).read_text() for path in self.outputs.values()]


@pytest.fixture
def studies(tmp_path):
    return Study(tmp_path, "first"), Study(tmp_path, "second")


def test_second_study_links_to_what_the_first_made(studies):
    first, second = studies
    first.run()
    second.run()
    assert (first.made, second.made) == (1, 0)
    assert first.contents() == second.contents() == ["by first"] * 2
    assert identity(first.outputs["store"]) == identity(second.outputs["store"])
    assert identity(first.outputs["store"]).startswith("align/")


def test_files_of_a_study_are_newer_than_what_it_had_before(studies):
    """Otherwise Snakemake would run the job again: inputs would be newer than its outputs."""
    first, second = studies
    first.run()
    before = time.time()
    second.run()
    assert all(os.lstat(path).st_mtime >= before - 0.1 for path in second.outputs.values())


def test_links_survive_a_move_of_all_results(studies, tmp_path):
    first, _ = studies
    (tmp_path / "results").mkdir()
    first = Study(tmp_path / "results", "first")
    first.run()
    (tmp_path / "results").rename(tmp_path / "moved")
    assert (tmp_path / "moved/first/a/0.bin").read_text() == "by first"


@pytest.mark.parametrize("change", ["settings", "versions", "not shared"])
def test_other_settings_or_libraries_make_it_again(studies, change, monkeypatch):
    first, second = studies
    first.run()
    if change == "versions":
        monkeypatch.setattr(sharing, "library_versions", lambda: {"torch": "0.1"})
    second.run(settings=2 if change == "settings" else 1, folder="" if change == "not shared" else "shared/align")
    assert second.made == 1
    assert second.contents() == ["by second"] * 2


def test_copied_or_touched_results_are_still_shared(studies, tmp_path):
    first, second = studies
    first.run()
    for path in (tmp_path / "shared").rglob("*"):
        os.utime(path, (0, 10))
    assert identity(first.outputs["store"]).startswith("align/")
    second.run()
    assert (first.made, second.made) == (1, 0)


@pytest.mark.parametrize("damage", ["failed", "emptied", "file gone", "truncated", "edited"])
def test_incomplete_results_are_made_again(studies, damage, tmp_path):
    first, second = studies
    if damage == "failed":
        with pytest.raises(ValueError, match="failed"):
            first.run(fails=True)
    else:
        first.run()
        (entry,) = (tmp_path / "shared/align").iterdir()
        if damage == "emptied":
            shutil.rmtree(tmp_path / "shared")
        elif damage == "file gone":
            (entry / "table.csv").unlink()
        elif damage == "truncated":
            (entry / "store.bin").write_text("b")
        else:  # through the link, after a while
            Path(first.outputs["store"]).write_text("BY FIRST")
            os.utime(entry / "store.bin", (0, 10))
            assert identity(first.outputs["store"]) == file_digest(first.outputs["store"])
    second.run()
    assert second.made == 1
    assert second.contents() == ["by second"] * 2


def test_record_says_what_decided_a_result(studies, tmp_path):
    studies[0].run(settings={"detector": "mtcnn"})
    (record,) = (tmp_path / "shared/align").glob("*/made.json")
    found = read_json(record)
    assert found["decided_by"]["settings"] == {"detector": "mtcnn"}
    assert {"torch", "numpy", "mtcnn", "onnxruntime"} <= found["decided_by"]["libraries"].keys()
    assert found["seconds"] >= 0


def test_two_processes_that_want_the_same_result_make_it_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run_slowly, args=(tmp_path, name)) for name in ("first", "second")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("made by *"))) == 1
    assert Study(tmp_path, "first").contents() == Study(tmp_path, "second").contents()


def _run_slowly(root, name):
    study = Study(root, name)

    def make():
        (root / f"made by {name}").touch()
        time.sleep(2)
        study._maker(False)()

    make_once(str(root / "shared/align"), lambda: {"settings": 1}, study.outputs, make)


def test_identity_of_a_file_that_is_not_shared_is_its_content(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    (tmp_path / "c").write_text("y")
    assert identity(tmp_path / "a") == identity(tmp_path / "b") != identity(tmp_path / "c")


def test_what_is_made_again_is_another_result_to_those_that_are_made_of_it(studies, tmp_path):
    first, _ = studies
    first.run()
    before = identity(first.outputs["store"])
    first.run()
    assert identity(first.outputs["store"]) == before
    shutil.rmtree(tmp_path / "shared")
    first.run()
    assert identity(first.outputs["store"]) != before


def test_what_one_changed_file_makes_again_has_other_identities_in_all_files(studies):
    first, second = studies
    first.run()
    before = identity(first.outputs["table"])
    Path(first.outputs["store"]).resolve().unlink()
    second.run()
    assert identity(first.outputs["table"]) != before


def test_links_to_shared_results_that_are_gone_are_removed_and_nothing_else(studies, tmp_path):
    first, second = studies
    first.run()
    second.run(settings=2)
    (second.folder / "own").symlink_to("nothing")
    shutil.rmtree(Path(first.outputs["store"]).resolve().parent)
    for study in studies:
        remove_broken_links(study.folder)
    assert not [path for path in map(Path, first.outputs.values()) if path.is_symlink()]
    assert len(second.contents()) == 2
    assert (second.folder / "own").is_symlink()
