# Hash the results that the others are made of, in the order of the pipeline.
use rule template as hash_study with:
    input:
        acquire=expand("<results>/faces/{dataset}/images.csv", dataset=study["datasets"]),
        align=expand("<results>/faces/{dataset}/store.arrow", dataset=study["datasets"]),
        split=["<results>/split/training_set.parquet", *expand("<results>/split/{benchmark}.csv", benchmark=BENCHMARKS)],
        train=[
            *expand("<results>/{role}/seed{seed}/history.parquet", role=TRAINED, seed=SEEDS),
            *expand("<results>/{role}/seed{seed}/weights.safetensors", role=["teacher", "student"], seed=SEEDS),
        ],
        embed=expand("<results>/teacher/seed{seed}/embeddings.npy", seed=SEEDS if USES_TEACHER else []),
        calibrate=expand("<results>/calibration/{distance}.seed{seed}.json", distance=DISTANCES, seed=SEEDS),
        distill=expand(
            "<results>/{model}/seed{seed}/{file}",
            model=STUDENTS,
            seed=SEEDS,
            file=["history.parquet", "weights.safetensors"],
        ),
        evaluate=expand("<results>/evaluation/{model}/seed{seed}.parquet", model=MODELS, seed=SEEDS),
        tables=[
            rules.make_table2.output.csv,
            rules.make_verification_table.output.csv,
            rules.make_findings.output.csv,
        ],
        export=[rules.export.output.onnx],
    output:
        "<results>/hashes.json",
    pathvars:
        name="hash_study",
    resources:
        mem_mb=8000,
        runtime=720,
    params:
        script="hash_study.py",
        configuration=provenance.digest({**study, "published_hashes": ""}),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        code=code("hash_study.py"),


# Say where this study first differs from the published one.
use rule template as compare_hashes with:
    input:
        published=lambda wildcards: published_hashes(),
        ours=rules.hash_study.output[0],
    output:
        "<results>/reproduction.json",
    pathvars:
        name="compare_hashes",
    params:
        script="compare_hashes.py",
        code=code("compare_hashes.py"),
