"""What the report says about machine, versions and commit."""

import subprocess

import pytest

from triplet_distillation.reporting import environment


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/x.smk").write_text("")
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "Snakefile").write_text("rule all: pass\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return tmp_path


def test_commit_says_whether_files_differ_from_it(checkout):
    clean = environment.git_commit(checkout)
    assert len(clean) == 40
    (checkout / "results").mkdir()
    (checkout / "results/table.csv").write_text("1\n")
    assert environment.git_commit(checkout) == clean
    (checkout / "src").mkdir()
    (checkout / "src/mine.py").write_text("")  # a method of one's own
    assert environment.git_commit(checkout) == clean + "+"
    (checkout / "src/mine.py").unlink()
    assert environment.git_commit(checkout) == clean
    (checkout / "Snakefile").write_text("rule all: input: []\n")
    assert environment.git_commit(checkout) == clean + "+"


def test_copy_without_history_has_no_commit(tmp_path):
    assert environment.git_commit(tmp_path) is None


def test_remains_of_an_interrupted_installation_are_no_package(tmp_path, monkeypatch):
    (tmp_path / "remains-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    packages = environment.describe_environment(tmp_path, "cpu")["packages"]
    assert "numpy" in packages and "remains" not in packages


def test_page_has_machine_versions_and_configuration(tmp_path):
    found = environment.describe_environment(tmp_path, "cpu")
    assert found["gpu"] is None and found["cores"] >= 1 and found["memory_gib"] >= 1
    assert "numpy" in found["packages"]
    (tmp_path / "config.yaml").write_text("title: <b>mine</b>\nseeds: [3, 14]\n")
    json_file, page = str(tmp_path / "environment.json"), tmp_path / "environment.html"
    environment.write_environment(found, [], str(tmp_path / "config.yaml"), json_file, str(page))
    text = page.read_text()
    assert "not a Git checkout" in text and "they were all imported" in text
    assert "&lt;b&gt;mine" in text and "<b>mine" not in text
    assert "3, 14" in text
    assert f"numpy {found['packages']['numpy']}" in text
