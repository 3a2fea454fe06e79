"""A study is handed on as a crate that its profile's own validator accepts, and every change of it is found."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import rocrate
from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

from triplet_distillation.__main__ import main
from triplet_distillation.deployment.crate import CrateError, CrateFacts, verify_crate, workflow_source, write_crate

ROOT = Path(__file__).parents[2]
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
FACTS = CrateFacts(
    study="mine",
    title="My “study”",
    description="Three methods.",
    terms="photos: for research",
    started="2026-01-02T03:04:05+00:00",
    ended="2026-01-02T04:04:05+00:00",
    versions={"snakemake": "9.27.1", "torch": "2.13.0"},
    commit="0123abc",
)


@pytest.fixture
def crate(tmp_path) -> Path:
    study = tmp_path / "results/mine"
    contents = {
        "config.yaml": "study: mine\n",
        "report.html": "<!doctype html>\n",
        "tables/table2.csv": "model,orl\nstudent,84.58\n",
        "students/a b/seed0/weights.safetensors": "\0" * 100,
    }
    for name, text in contents.items():
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        (study / name).write_text(text)
    path = study / "crate.zip"
    write_crate(FACTS, {name: study / name for name in contents}, workflow_source(ROOT), path)
    return path


def repack(crate: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy of an archive in which files are replaced, added, or left out (None)."""
    copy = crate.with_name("copy.zip")
    with zipfile.ZipFile(crate) as old, zipfile.ZipFile(copy, "w") as new:
        for name in dict.fromkeys([*old.namelist(), *changes]):
            content = changes[name] if name in changes else old.read(name)
            if content is not None:
                new.writestr(name, content)
    return copy


class Answer:
    """What a server would answer for the context of RO-Crate 1.1, which no test may ask for.

    ``rocrate`` comes with that of 1.3, where Bioschemas' terms have other addresses.
    """

    status_code, ok, url = 200, True, CONTEXT
    headers, history = {"Content-Type": "application/ld+json"}, ()
    text = (
        (Path(rocrate.__file__).parent / "data/ro-crate.jsonld")
        .read_text()
        .replace("bioschemas.org/terms/", "bioschemas.org/")
    )

    def json(self):
        return json.loads(self.text)


def test_validator_of_the_profile_accepts_it(crate, monkeypatch):
    def get(self, url, **settings):
        assert url == CONTEXT, f"the crate needs {url}"
        return Answer()

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)
    monkeypatch.setattr(HttpRequester, "head", get, raising=False)

    def issues(path):
        settings = services.ValidationSettings(
            rocrate_uri=str(path),
            profile_identifier="workflow-run-crate",
            requirement_severity=models.Severity.REQUIRED,
        )
        return [issue.message for issue in services.validate(settings).get_issues()]

    assert issues(crate) == []
    with zipfile.ZipFile(crate) as archive:
        metadata = json.loads(archive.read("ro-crate-metadata.json"))
    for entity in metadata["@graph"]:
        entity.pop("instrument", None)
    assert issues(repack(crate, {"ro-crate-metadata.json": json.dumps(metadata).encode()})) != []


def test_crate_has_results_workflow_and_versions(crate):
    with zipfile.ZipFile(crate) as archive:
        names = set(archive.namelist())
        graph = {entity["@id"]: entity for entity in json.loads(archive.read("ro-crate-metadata.json"))["@graph"]}
        readme = archive.read("README.md").decode()
        assert archive.read("workflow/Snakefile") == (ROOT / "Snakefile").read_bytes()
    assert {"config.yaml", "report.html", "workflow/workflow/rules/train.smk", "workflow/constraints.txt"} <= names
    assert not any("__pycache__" in name for name in names)
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "workflow", "src"], capture_output=True, text=True, check=True
    )
    assert {f"workflow/{path}" for path in listed.stdout.splitlines()} <= names
    assert "My “study”" in readme and "photos: for research" in readme
    run = graph["#run"]
    assert run["instrument"] == {"@id": "workflow/Snakefile"}
    assert (run["startTime"], run["endTime"]) == (FACTS.started, FACTS.ended)
    assert run["object"] == {"@id": "config.yaml"}
    assert {"@id": "tables/table2.csv"} in run["result"]
    assert graph["https://pypi.org/project/torch/2.13.0/"]["softwareVersion"] == "2.13.0"


@pytest.mark.parametrize("unpacked", [False, True])
def test_unchanged_crate_is_verified_packed_and_unpacked(crate, tmp_path, capsys, unpacked):
    path = crate
    if unpacked:
        path = tmp_path / "unpacked"
        shutil.unpack_archive(crate, path)
    assert main(["verify", str(path)]) == 0
    assert "every file is as it was" in capsys.readouterr().out


def test_one_changed_byte_of_a_table_is_found(crate, capsys):
    changed = repack(crate, {"tables/table2.csv": b"model,orl\nstudent,84.59\n"})
    assert main(["verify", str(changed)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("tables/table2.csv: differs (SHA-256 is ")


def test_lost_and_added_files_are_found(crate, tmp_path):
    shutil.unpack_archive(crate, tmp_path / "unpacked")
    (tmp_path / "unpacked/students/a b/seed0/weights.safetensors").unlink()
    (tmp_path / "unpacked/tables/another.csv").write_text("")
    assert verify_crate(tmp_path / "unpacked") == [
        "students/a b/seed0/weights.safetensors: missing",
        "tables/another.csv: added",
    ]


def test_damaged_archive_names_the_file(crate):
    content = bytearray(crate.read_bytes())
    with zipfile.ZipFile(crate) as archive:
        entry = archive.getinfo("report.html")
    start = entry.header_offset
    lengths = (int.from_bytes(content[start + at : start + at + 2], "little") for at in (26, 28))
    content[start + 30 + sum(lengths) + entry.compress_size // 2] ^= 0xFF
    crate.write_bytes(content)
    (difference,) = verify_crate(crate)
    assert difference.startswith("report.html: ")


@pytest.mark.parametrize(
    ("signature", "offset", "bit"),
    [
        (b"PK\1\2", 0, 0),  # no list of files
        (b"PK\1\2", 6, 7),  # made for an unknown version of ZIP
        (b"PK\1\2", 8, 0),  # encrypted
        (b"PK\1\2", 10, 2),  # compressed in another way
        (b"PK\1\2", 10, 5),  # or in an unknown one
    ],
)
def test_any_flipped_bit_of_the_archives_own_fields_is_reported_without_a_traceback(
    crate, capsys, signature, offset, bit
):
    content = bytearray(crate.read_bytes())
    content[content.index(signature) + offset] ^= 1 << bit
    crate.write_bytes(content)
    assert main(["verify", str(crate)]) == 1
    output = capsys.readouterr()
    assert "damaged" in output.out or "CrateError" in output.err


def test_path_in_the_metadata_cannot_lead_out_of_the_folder(crate, tmp_path):
    folder = tmp_path / "unpacked"
    shutil.unpack_archive(crate, folder)
    (tmp_path / "secret").write_text("x")
    metadata = json.loads((folder / "ro-crate-metadata.json").read_text())
    metadata["@graph"].append({"@id": "../secret", "@type": "File", "sha256": "0"})
    (folder / "ro-crate-metadata.json").write_text(json.dumps(metadata))
    assert verify_crate(folder) == ["../secret: missing"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("crate.zip", b"PK is not enough", "is not a ZIP archive"),
        ("folder/other.txt", b"", "has no ro-crate-metadata.json"),
        ("folder/ro-crate-metadata.json", b"{}", "does not give the SHA-256"),
        ("folder/ro-crate-metadata.json", b'{"@graph": [{"@id": "a", "@type": "File"}]}', "does not give the SHA-256"),
        ("folder/ro-crate-metadata.json", b"\xff", "does not give the SHA-256"),
    ],
)
def test_what_is_no_crate_is_refused(tmp_path, capsys, name, content, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / name).write_bytes(content)
    path = tmp_path / name if name.endswith(".zip") else tmp_path / "folder"
    with pytest.raises(CrateError, match=message):
        verify_crate(path)
    assert main(["verify", str(path)]) == 1
    assert message in capsys.readouterr().err


def test_missing_crate_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no crate at"):
        verify_crate(tmp_path / "crate.zip")
