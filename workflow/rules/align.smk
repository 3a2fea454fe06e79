# Find the face in every image and warp it onto ArcFace's template, one shard of the data set per job.
use rule template as align with:
    input:
        # The manifest lists the folder's content; the folder's time does not matter.
        images=ancient("<results>/faces/{dataset}/images"),
        manifest="<results>/faces/{dataset}/images.csv",
        origin="<results>/faces/{dataset}/origin.json",
    output:
        store="<results>/faces/{dataset}/shards/{shard}.arrow",
        outcomes="<results>/faces/{dataset}/shards/{shard}.csv",
    pathvars:
        name="align/{dataset}.{shard}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("align"),
        runtime=minutes_of("align"),
    params:
        script="align.py",
        shared_folder=lambda wildcards, output: shared_folder("align"),
        source=lambda wildcards: source_settings(wildcards.dataset),
        settings=lambda wildcards: study["datasets"][wildcards.dataset]["alignment"],
        code=lambda wildcards: code("align.py", *alignment_code(wildcards.dataset)),


# Merge the shards of a data set into its face store.
use rule template as merge_shards with:
    input:
        shards=lambda wildcards: shard_files(wildcards.dataset, "arrow"),
        outcomes=lambda wildcards: shard_files(wildcards.dataset, "csv"),
    output:
        store="<results>/faces/{dataset}/store.arrow",
        outcomes="<results>/faces/{dataset}/alignment.csv",
    pathvars:
        name="merge_shards/{dataset}",
    conda:
        "../../envs/faces.yaml"
    resources:
        mem_mb=memory_of("merge_shards"),
        runtime=minutes_of("merge_shards"),
    params:
        script="merge_shards.py",
        shared_folder=lambda wildcards, output: shared_folder("merge_shards"),
        code=lambda wildcards: code("merge_shards.py"),
