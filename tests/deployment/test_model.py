"""An exported model on ORL images, from Python and from the command line."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from triplet_distillation.__main__ import main
from triplet_distillation.deployment.export import write_onnx
from triplet_distillation.deployment.model import Model, choose_threshold, compare
from triplet_distillation.faces import align
from triplet_distillation.faces.acquire import open_source
from triplet_distillation.faces.detectors.mtcnn import MTCNNDetector
from triplet_distillation.faces.images import read_image
from triplet_distillation.faces.sources import Downloads
from triplet_distillation.networks import weights
from triplet_distillation.tabular import read_table

THRESHOLDS = [
    {"benchmark": "unseen", "far": 0.1, "threshold": 0.3, "impostors": 500},
    {"benchmark": "unseen", "far": 0.01, "threshold": None, "impostors": 500},
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three ORL images: two of one identity, one of another."""
    folder = tmp_path_factory.mktemp("orl")
    acquired = open_source({"source": "orl"}).acquire(folder, Downloads(folder / "downloads", None))
    return [folder / acquired[index].path for index in (0, 1, 10)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx", THRESHOLDS)


def write_model(path, thresholds):
    """An untrained network with synthetic thresholds."""
    torch.manual_seed(0)
    settings = {"architecture": "mobilefacenet", "width": 0.25, "embedding_size": 32}
    network, metadata = weights.create(settings), {"flip": "concatenate", "thresholds": thresholds}
    if path.suffix == ".onnx":
        write_onnx(network, metadata, 18, path)
    else:  # in a fraction of the time
        weights.save(path, network, settings, metadata)
    return path


def test_compare_aligns_embeds_and_scores(images, model):
    detector = MTCNNDetector()
    faces = []
    for path in images:
        pixels = read_image(path)
        faces.append(align.align_face(pixels, detector.detect([pixels])[0]).pixels)
    embeddings = Model(model).embed(np.stack(faces))
    for other in (1, 2):
        result = compare(Model(model), images[0], images[other])
        assert result.score == pytest.approx(float(embeddings[0] @ embeddings[other]), abs=1e-5)
        assert (result.threshold, result.far, result.benchmark) == (0.3, 0.1, "unseen")


def test_command_line_compares_images(images, model, capsys):
    for other in (0, 1, 2):
        assert main(["compare", str(model), str(images[0]), str(images[other])]) == 0
        output = capsys.readouterr().out
        score = float(output.split()[1].rstrip(","))
        assert output.strip().endswith("same person" if score >= 0.3 else "different people")
        assert "threshold 0.3000 at a false accept rate of 0.1 (unseen)" in output
        if other == 0:
            assert score == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("thresholds", "noted"), [([{**THRESHOLDS[1]}], True), ([], False), (THRESHOLDS, False)])
def test_command_line_says_why_there_is_no_threshold(thresholds, noted, images, tmp_path, capsys):
    path = write_model(tmp_path / "model.safetensors", thresholds)
    assert main(["compare", str(path), str(images[0]), str(images[1])]) == 0
    assert ("enough impostor pairs" in capsys.readouterr().err) is noted


def test_command_line_notes_what_embed_passes_over(images, model, tmp_path):
    """As notes, not as records of a log."""
    (tmp_path / "anna").mkdir()
    shutil.copy(images[0], tmp_path / "anna")
    (tmp_path / "anna/notes.txt").write_text("x")
    command = [sys.executable, "-m", "triplet_distillation", "embed", str(model), str(tmp_path)]
    process = subprocess.run([*command, "--output", str(tmp_path / "out.csv")], capture_output=True, text=True)
    assert process.stderr.startswith(f"note: {tmp_path}: passed over 1 without the ending of an image")


def test_embed_writes_a_row_for_every_file(images, model, tmp_path, capsys):
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    Image.open(images[0]).save(folder / "deep" / "a.png")
    Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(folder / "black.png")
    (folder / "text.jpg").write_text("plain text")
    output = tmp_path / "out.parquet"
    assert main(["embed", str(model), str(folder), "--output", str(output)]) == 0
    assert "1 one face" in capsys.readouterr().out
    table = read_table(output).set_index("path")
    assert table.outcome.to_dict() == {"black.png": "no face", "deep/a.png": "one face", "text.jpg": "unreadable"}
    assert np.linalg.norm(table.embedding["deep/a.png"]) == pytest.approx(1, abs=1e-5)
    assert table.embedding["black.png"] is None
    assert "not an image" in table.reason["text.jpg"]


def test_embed_takes_the_files_that_the_source_takes_whatever_their_names(images, model, tmp_path, caplog):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    (folder / ".thumbnails").mkdir(parents=True)
    (folder / "self").symlink_to(folder)
    for name in ("a.jfif", os.fsdecode(b"caf\xe9.png"), ".thumbnails/a.png"):
        Image.open(images[0]).save(folder / name)
    (folder / "notes.txt").write_text("plain text")
    output = tmp_path / "new" / "out.parquet"
    assert main(["embed", str(model), str(folder), "--output", str(output)]) == 0
    table = read_table(output)
    assert table.path.tolist() == ["a.jfif", "caf\\xe9.png"]
    assert table.outcome.tolist() == ["one face"] * 2
    assert "passed over 1 without the ending of an image, first notes.txt; 1 a link to a folder" in caplog.text


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.xlsx", "out.xlsx has the extension '.xlsx': tables are written as .parquet or .csv"),
        ("out", "has the extension ''"),
        ("file/out.csv", "file"),
        ("folder.csv", "folder.csv is a folder"),
    ],
)
def test_embed_checks_the_output_before_it_computes(images, model, tmp_path, capsys, monkeypatch, output, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr(align, "align_images", lambda *_: pytest.fail("images were read before the output was checked"))
    arguments = ["embed", str(model), str(images[0].parent), "--output", str(tmp_path / output)]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "{model}", "{black}", "{face}"], "no face was found in .*black.png"),
        (["compare", "{model}", "missing.jpg", "{face}"], "missing.jpg"),
        (["compare", "{model}", "{face}", "{face}", "--far", "0.01"], "no threshold at a false accept rate of 0.01"),
        (["compare", "{model}", "{face}", "{text}"], "text.jpg cannot be read: not an image"),
        (["compare", "{model}", "{truncated}", "{face}"], "truncated.jpg cannot be read: a truncated JPEG"),
        (["compare", "{model}", "{face}", "{face}", "--benchmark", "seen"], "'seen'; its benchmarks are: unseen"),
        (["compare", "{without}", "{face}", "{face}", "--far", "0.1"], "no threshold at .* of 0.1; it has: none"),
        (["compare", "{without}", "{face}", "{face}", "--benchmark", "x"], "'x'; its benchmarks are: none"),
        (["compare", "{text}", "{face}", "{face}"], "text.jpg cannot be read"),
        (["compare", "{damaged}", "{face}", "{face}"], "damaged.onnx cannot be opened as an ONNX model"),
        (["compare", "missing.onnx", "{face}", "{face}"], "there is no model at missing.onnx"),
        (["compare", "{model}", "{face}", "{empty}"], "empty is a folder: name an image"),
        (["embed", "{model}", "{empty}"], "has no images"),
        (["embed", "{model}", "missing"], "missing is not a folder"),
    ],
)
def test_invalid_requests_are_reported(arguments, message, images, model, tmp_path, capsys):
    Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(tmp_path / "black.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("plain text")
    Image.open(images[0]).save(tmp_path / "truncated.jpg")
    (tmp_path / "truncated.jpg").write_bytes((tmp_path / "truncated.jpg").read_bytes()[:-200])
    (tmp_path / "damaged.onnx").write_bytes(model.read_bytes()[:5000])
    paths = {
        "model": model,
        "without": write_model(tmp_path / "without.safetensors", []),
        "black": tmp_path / "black.png",
        "face": images[0],
        "empty": tmp_path / "empty",
        "text": tmp_path / "text.jpg",
        "truncated": tmp_path / "truncated.jpg",
        "damaged": tmp_path / "damaged.onnx",
    }
    assert main([argument.format(**paths) for argument in arguments]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_model_not_exported_by_this_workflow_is_rejected(tmp_path):
    settings = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
    weights.save(tmp_path / "plain.safetensors", weights.create(settings), settings, {})
    with pytest.raises(ValueError, match="how its embeddings are used"):
        Model(tmp_path / "plain.safetensors")


def entry(benchmark, far, threshold):
    return {"benchmark": benchmark, "far": far, "threshold": threshold}


SEVERAL = [
    entry("lfw", 0.01, 0.2),
    entry("lfw", 0.001, 0.3),
    entry("cplfw", 0.01, 0.4),
    entry("cplfw", 0.001, 0.5),
    entry("small", 0.01, 0.25),
    entry("small", 0.001, None),
]


@pytest.mark.parametrize(
    ("far", "benchmark", "expected"),
    [
        (None, None, ("cplfw", 0.001, 0.5)),
        (0.01, None, ("cplfw", 0.01, 0.4)),
        (None, "lfw", ("lfw", 0.001, 0.3)),
        (0.01, "lfw", ("lfw", 0.01, 0.2)),
        (None, "small", ("small", 0.01, 0.25)),
    ],
)
def test_highest_threshold_of_several_benchmarks_decides(far, benchmark, expected):
    assert choose_threshold(SEVERAL, far, benchmark) == entry(*expected)
    assert choose_threshold(SEVERAL[::-1], far, benchmark) == entry(*expected)


def test_threshold_that_a_benchmark_lacks_is_reported():
    with pytest.raises(ValueError, match=r"no threshold at a false accept rate of 0\.001 on small; it has: 0\.01$"):
        choose_threshold(SEVERAL, 0.001, "small")
    assert choose_threshold([], None, None) is None


def test_command_line_takes_the_threshold_of_a_benchmark(images, tmp_path, capsys):
    path = write_model(tmp_path / "model.safetensors", SEVERAL)
    for options, shown in (([], "0.5000 at a false accept rate of 0.001 (cplfw)"), (["--benchmark", "lfw"], "(lfw)")):
        assert main(["compare", str(path), str(images[0]), str(images[1]), *options]) == 0
        assert shown in capsys.readouterr().out


def test_images_with_several_faces_are_noted(images, model, tmp_path, capsys):
    """Two faces of the same size beside each other; the note is not part of the answer."""
    face = np.asarray(Image.open(images[0]).convert("RGB"))
    Image.fromarray(np.concatenate([face, face], axis=1)).save(tmp_path / "two.png")
    assert main(["compare", str(model), str(images[0]), str(tmp_path / "two.png")]) == 0
    shown = capsys.readouterr()
    assert re.fullmatch(
        r"note: .*two\.png shows 2 faces: the one between \(\d+, -?\d+\) and .* was taken.*\n", shown.err
    )
    assert shown.out.startswith("score")
    assert main(["compare", str(model), str(tmp_path / "two.png"), str(images[0])]) == 0
    assert "two.png shows 2 faces" in capsys.readouterr().err


def test_photo_that_the_model_answers_with_nan_is_named(images, tmp_path, capsys):
    """Its weights are finite, but overflow."""
    settings = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}
    network = weights.create(settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e20)
    metadata = {"flip": "concatenate", "thresholds": [], "name": "student"}
    weights.save(tmp_path / "m.safetensors", network, settings, metadata)
    assert main(["compare", str(tmp_path / "m.safetensors"), str(images[0]), str(images[1])]) == 1
    shown = capsys.readouterr().err
    assert re.search(
        rf"student \(.*m\.safetensors\): the embedding of {images[0]} contains .*weights are finite", shown
    )


def test_exported_weights_that_are_not_finite_are_refused(tmp_path):
    network = weights.create({"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16})
    network.get_buffer("layers.0.1.running_mean")[0] = float("nan")
    write_onnx(network, {"flip": "none", "thresholds": []}, 18, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"m\.onnx: the embedding of a test image contains NaN"):
        Model(tmp_path / "m.onnx")
