from triplet_distillation.faces.split import DatasetFiles, PairFiles, Protocol, RequiredPairs, write_pairs
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_pairs(
        dataset=DatasetFiles(snakemake.input.store, snakemake.input.images),
        source=snakemake.params.source,
        protocol=Protocol(**snakemake.params.protocol),
        required=RequiredPairs(**snakemake.params.required),
        output=PairFiles(snakemake.output.pairs, snakemake.output.templates),
    )
