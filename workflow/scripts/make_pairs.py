from triplet_distillation.faces.split import DatasetFiles, PairFiles, Protocol, write_pairs
from triplet_distillation.logs import logged_to

with logged_to(snakemake.log[0]):
    write_pairs(
        dataset=DatasetFiles(snakemake.input.store, snakemake.input.images),
        source=snakemake.params.source,
        protocol=Protocol(**snakemake.params.protocol),
        impostors=snakemake.params.impostors,
        output=PairFiles(snakemake.output.pairs, snakemake.output.templates),
    )
