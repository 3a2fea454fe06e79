# Embed all faces of everyone who is tested on one data set with one model: other pairs or metrics need no network.
use rule template as embed_test_faces with:
    input:
        weights=weights_of,
        store="<results>/faces/{dataset}/store.arrow",
        faces=lambda wildcards: [
            test_faces_of(benchmark, wildcards.seed) for benchmark in benchmarks_on(wildcards.dataset)
        ],
    output:
        "<results>/evaluation/{model}/seed{seed}/{dataset}.safetensors",
    pathvars:
        name="embed_test_faces/{model}.seed{seed}.{dataset}",
    conda:
        "../../envs/networks.yaml"
    threads: study["execution"]["threads"]
    resources:
        mem_mb=memory_of("embed_test_faces"),
        runtime=minutes_of("embed_test_faces"),
        gpu=GPUS,
    params:
        script="embed_test_faces.py",
        shared_folder=lambda wildcards, output: shared_folder("embed_test_faces"),
        execution=INFERENCE,
        code=lambda wildcards: code("embed_test_faces.py", network_code(network_of(wildcards.model))),


# Score the pairs of every benchmark with one model.
use rule template as evaluate with:
    input:
        embeddings=lambda wildcards: [embeddings_of(benchmark, wildcards) for benchmark in BENCHMARKS],
        stores=BENCHMARK_STORES,
        pairs=lambda wildcards: [pairs_of(benchmark, wildcards.seed) for benchmark in BENCHMARKS],
        templates=lambda wildcards: [templates_of(benchmark, wildcards.seed) for benchmark in BENCHMARKS],
    output:
        metrics="<results>/evaluation/{model}/seed{seed}/metrics.json",
        scores="<results>/evaluation/{model}/seed{seed}/scores.parquet",
    pathvars:
        name="evaluate/{model}.seed{seed}",
    wildcard_constraints:
        model="|".join(model for model in [*MODELS, *ABLATED] if model not in SCORED_ELSEWHERE),
    conda:
        "../../envs/networks.yaml"
    resources:
        mem_mb=memory_of("evaluate"),
        runtime=minutes_of("evaluate"),
    params:
        script="evaluate.py",
        benchmarks=list(BENCHMARKS),
        settings=EVALUATION,
        code=lambda wildcards: code("evaluate.py"),


# Read the scores of a further model.
use rule template as import_scores with:
    input:
        scores=lambda wildcards: SCORED_ELSEWHERE[wildcards.model],
        pairs=lambda wildcards: [pairs_of(benchmark, wildcards.seed) for benchmark in BENCHMARKS],
    output:
        metrics="<results>/evaluation/{model}/seed{seed}/metrics.json",
        scores="<results>/evaluation/{model}/seed{seed}/scores.parquet",
    pathvars:
        name="import_scores/{model}.seed{seed}",
    wildcard_constraints:
        model="|".join(SCORED_ELSEWHERE) or NEVER_MATCHES,
    conda:
        "../../envs/networks.yaml"
    params:
        script="import_scores.py",
        benchmarks=list(BENCHMARKS),
        settings=EVALUATION,
        code=lambda wildcards: code("import_scores.py"),
