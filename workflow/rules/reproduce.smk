# Hash the results that the others are made of, in the order of the pipeline.
use rule template as hash_study with:
    input:
        acquire=expand("<results>/faces/{dataset}/images.csv", dataset=study["datasets"]),
        align=expand("<results>/faces/{dataset}/store.arrow", dataset=study["datasets"]),
        split=[*TRAINING_SETS, *dict.fromkeys(TESTED_IN_ROUND.values())],
        train=[
            f"<results>/{role}/seed{seed}/{file}"
            for role in NETWORKS
            for seed in first_stage_seeds(role)
            for file in (["history.parquet"] if role in TRAINED else []) + ["weights.safetensors"]
        ],
        embed=TEACHER_EMBEDDINGS,
        calibrate=[
            *TEACHER_SUMMARIES,
            *expand("<results>/calibration/matched/{method}.seed{seed}.json", method=MATCHED, seed=SEEDS),
        ],
        distill=expand(
            "<results>/{model}/seed{seed}/{file}",
            model=[*STUDENTS, *ABLATED],
            seed=SEEDS,
            file=["history.parquet", "weights.safetensors"],
        ),
        evaluate=evaluations("scores.parquet"),
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
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("hash_study"),
        runtime=minutes_of("hash_study"),
    params:
        script="hash_study.py",
        configuration=provenance.digest({**study, "published_hashes": "", "share": True}),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        code=lambda wildcards: code("hash_study.py"),


# Say where this study first differs from the published one.
use rule template as compare_hashes with:
    input:
        published=lambda wildcards: published_hashes(),
        ours=rules.hash_study.output[0],
    output:
        "<results>/reproduction.json",
    pathvars:
        name="compare_hashes",
    conda:
        "../../envs/networks.yaml"
    params:
        script="compare_hashes.py",
        code=lambda wildcards: code("compare_hashes.py"),
