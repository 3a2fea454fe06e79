from triplet_distillation.logs import logged_to
from triplet_distillation.networks.weights import import_weights

with logged_to(snakemake.log[0]):
    import_weights(
        name=snakemake.wildcards.role,
        settings=snakemake.params.settings,
        source=snakemake.input.source,
        output=snakemake.output.weights,
    )
