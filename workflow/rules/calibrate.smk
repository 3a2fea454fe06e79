# Derive the margins from the teacher's distances in random triplets (§4.1).
use rule template as calibrate with:
    input:
        training_set="<results>/split/training_set.parquet",
        teacher_embeddings="<results>/teacher/seed{seed}/embeddings.npy",
    output:
        margins="<results>/calibration/{distance}.seed{seed}.json",
        triplets="<results>/calibration/{distance}.seed{seed}.csv",
    pathvars:
        name="calibrate/{distance}.seed{seed}",
    params:
        script="calibrate.py",
        settings=study["calibration"],
        code=code("calibrate.py"),
