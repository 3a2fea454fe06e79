# Make a benchmark's pairs: of held-out identities, of a published protocol, or the user's own.
use rule template as make_pairs with:
    input:
        store=lambda wildcards: benchmark_store(wildcards.benchmark),
        images=lambda wildcards: ancient(f"<results>/faces/{benchmark_data(wildcards.benchmark)}/images"),
        manifest=lambda wildcards: f"<results>/faces/{benchmark_data(wildcards.benchmark)}/images.csv",
        file=lambda wildcards: pairs_file(wildcards.benchmark),
    output:
        pairs="<results>/split/round{round}/pairs/{benchmark}.parquet",
        templates="<results>/split/round{round}/templates/{benchmark}.parquet",
    pathvars:
        name="make_pairs/{benchmark}.round{round}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("make_pairs"),
        runtime=minutes_of("make_pairs"),
    params:
        script="make_pairs.py",
        protocol=lambda wildcards: protocol(wildcards.benchmark, wildcards.round),
        source=lambda wildcards: source_settings(benchmark_data(wildcards.benchmark)),
        required=lambda wildcards: pairs_needed(wildcards.benchmark),
        code=lambda wildcards: code("make_pairs.py", source_code(benchmark_data(wildcards.benchmark))),


# List all faces of the people in a benchmark's pairs, of whom nobody may be trained on. A file of pairs is no input:
# only who is in it matters, so that other pairs of the same people train nothing and embed nothing again.
use rule template as list_test_faces with:
    input:
        store=lambda wildcards: benchmark_store(wildcards.benchmark),
        images=lambda wildcards: ancient(f"<results>/faces/{benchmark_data(wildcards.benchmark)}/images"),
        manifest=lambda wildcards: f"<results>/faces/{benchmark_data(wildcards.benchmark)}/images.csv",
    output:
        "<results>/split/round{round}/test_faces/{benchmark}.parquet",
    pathvars:
        name="list_test_faces/{benchmark}.round{round}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("list_test_faces"),
        runtime=minutes_of("list_test_faces"),
    params:
        script="list_test_faces.py",
        protocol=lambda wildcards: protocol(wildcards.benchmark, wildcards.round),
        source=lambda wildcards: source_settings(benchmark_data(wildcards.benchmark)),
        tested=lambda wildcards: who_is_tested(wildcards.benchmark, wildcards.round),
        code=lambda wildcards: code("list_test_faces.py", source_code(benchmark_data(wildcards.benchmark))),


# List the faces to train on in one round: those of identities that it does not test.
use rule template as make_training_set with:
    input:
        unpack(lambda wildcards: held_out_from(seed_of_round(wildcards.round))),
        store=TRAINING_STORE,
    output:
        "<results>/split/round{round}/training_set.parquet",
    pathvars:
        name="make_training_set/round{round}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("make_training_set"),
        runtime=minutes_of("make_training_set"),
    params:
        script="make_training_set.py",
        minimum_images=study["training_data"]["minimum_images"],
        code=lambda wildcards: code("make_training_set.py"),
