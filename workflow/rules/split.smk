# Make a benchmark's pairs: of held-out identities, or by the source's published protocol.
use rule template as make_pairs with:
    input:
        store=lambda wildcards: benchmark_store(wildcards.benchmark),
        images=lambda wildcards: ancient(f"<results>/faces/{benchmark_data(wildcards.benchmark)}/images"),
        manifest=lambda wildcards: f"<results>/faces/{benchmark_data(wildcards.benchmark)}/images.csv",
    output:
        "<results>/split/round{round}/{benchmark}.csv",
    pathvars:
        name="make_pairs/{benchmark}.round{round}",
    params:
        script="make_pairs.py",
        protocol=lambda wildcards: protocol(wildcards.benchmark, wildcards.round),
        source=lambda wildcards: source_settings(benchmark_data(wildcards.benchmark)),
        code=lambda wildcards: code("make_pairs.py", source_code(benchmark_data(wildcards.benchmark))),


# List the faces to train on in one round: those of identities that it does not test.
use rule template as make_training_set with:
    input:
        store=TRAINING_STORE,
        pairs=expand("<results>/split/round{{round}}/{benchmark}.csv", benchmark=BENCHMARKS_ON_TRAINING_DATA),
    output:
        "<results>/split/round{round}/training_set.parquet",
    pathvars:
        name="make_training_set/round{round}",
    params:
        script="make_training_set.py",
        minimum_images=study["training_data"]["minimum_images"],
        code=code("make_training_set.py"),
