# Embed the test faces with one model and score the pairs of every benchmark.
use rule template as evaluate with:
    input:
        weights=weights_of,
        stores=[benchmark_store(benchmark) for benchmark in BENCHMARKS],
        pairs=lambda wildcards: [pairs_of(benchmark, wildcards.seed) for benchmark in BENCHMARKS],
    output:
        metrics="<results>/evaluation/{model}/seed{seed}.json",
        scores="<results>/evaluation/{model}/seed{seed}.parquet",
    pathvars:
        name="evaluate/{model}.seed{seed}",
    threads: study["execution"]["threads"]
    resources:
        mem_mb=5000,
        runtime=240,
        gpu=GPUS,
    params:
        script="evaluate.py",
        benchmarks=list(BENCHMARKS),
        settings={key: study["evaluation"][key] for key in ("flip", "far")},
        execution=INFERENCE,
        code=lambda wildcards: code("evaluate.py", network_code(network_of(wildcards.model))),
