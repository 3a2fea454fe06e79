from triplet_distillation.logs import logged_to
from triplet_distillation.networks.profile import write_profile

with logged_to(snakemake.log[0]):
    write_profile(
        name=snakemake.wildcards.network,
        settings=snakemake.params.settings,
        runs=snakemake.params.runs,
        output=snakemake.output[0],
    )
