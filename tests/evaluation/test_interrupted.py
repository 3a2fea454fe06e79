"""Embedding and calibration are interrupted at random moments: the next run leaves an uninterrupted one's files."""

import numpy as np
import pandas as pd
from conftest import make_faces
from interruptions import check_interrupted_and_rerun, in_three_ways

from triplet_distillation.faces import store
from triplet_distillation.networks import weights
from triplet_distillation.tabular import write_table

NETWORK = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 16}


@in_three_ways
def test_interrupted_embedding(tmp_path, interrupt):
    store.write(tmp_path / "store.arrow", make_faces(40, 20), {"origin": "synthetic", "checksum": "0"})
    weights.save(tmp_path / "w.safetensors", weights.create(NETWORK), NETWORK, {"study": "test"})
    program = (
        "from triplet_distillation import row_files; row_files.SAVE_EVERY = 1; "
        "from triplet_distillation.evaluation import teacher_cache; teacher_cache.BATCH_SIZE = 8; "
        "from triplet_distillation.settings import ExecutionSettings; folder, out = map(Path, sys.argv[1:]); "
        "out.mkdir(exist_ok=True); teacher_cache.write_teacher_embeddings(str(folder / 'w.safetensors'), "
        "str(folder / 'store.arrow'), ExecutionSettings(), str(out / 'e.npy'), str(out / 'e.json')); "
        "import os, json; found = json.loads((out / 'e.json').read_text()); found['file']['time'] = 0; "
        "(out / 'e.json').write_text(json.dumps(found))"
    )
    check_interrupted_and_rerun(program, tmp_path, tmp_path, interrupt, ("e.npy", "e.json"))


@in_three_ways
def test_interrupted_calibration(tmp_path, interrupt):
    random, faces = np.random.default_rng(0), 400_000
    embeddings = np.lib.format.open_memmap(tmp_path / "e.npy", "w+", np.float32, (faces, 2, 16))
    embeddings[:] = random.normal(size=embeddings.shape)
    write_table(tmp_path / "t.parquet", pd.DataFrame({"row": np.arange(faces), "label": np.arange(faces) // 40}))
    program = (
        "from triplet_distillation.training import calibration; "
        "from triplet_distillation.settings import CalibrationSettings; folder, out = map(Path, sys.argv[1:]); "
        "out.mkdir(exist_ok=True); settings = CalibrationSettings(1000, 'measured', [0.0, 1.0]); "
        "training_set, embeddings = str(folder / 't.parquet'), str(folder / 'e.npy'); "
        "outputs = (str(out / 'm.json'), str(out / 't.csv')); "
        "calibration.write_calibration(training_set, embeddings, settings, 'squared_euclidean', 0, outputs)"
    )
    check_interrupted_and_rerun(program, tmp_path, tmp_path, interrupt, ("m.json", "t.csv"))
