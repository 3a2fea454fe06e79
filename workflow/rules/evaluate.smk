rule evaluate:
    """Embed the test faces with one model and score the pairs of every benchmark."""
    input:
        weights="<results>/{model}/seed{seed}/weights.safetensors",
        stores=[benchmark_store(benchmark) for benchmark in BENCHMARKS],
        pairs=expand("<results>/split/{benchmark}.csv", benchmark=BENCHMARKS),
    output:
        figures="<results>/evaluation/{model}/seed{seed}.json",
        scores="<results>/evaluation/{model}/seed{seed}.parquet",
    log:
        "<results>/logs/evaluate/{model}.seed{seed}.log",
    benchmark:
        "<results>/benchmarks/evaluate/{model}.seed{seed}.tsv"
    conda:
        "../../envs/study.yaml"
    threads: study["execution"]["threads"]
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=GPUS,
    params:
        benchmarks=list(BENCHMARKS),
        settings={key: study["evaluation"][key] for key in ("mirror", "far")},
        execution=INFERENCE,
        code=lambda wildcards: code("evaluate.py", network_code(network_of(wildcards.model))),
    script:
        "../scripts/evaluate.py"
