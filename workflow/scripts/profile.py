import os

from triplet_distillation import portable

# Time is measured with this CPU's fastest kernels, which PyTorch chooses when it is loaded.
portable.replace_environment(portable.native_environment(os.environ))

from triplet_distillation.logs import logged_to  # noqa: E402
from triplet_distillation.networks.profile import write_profile  # noqa: E402

with logged_to(snakemake.log[0]):
    write_profile(
        name=snakemake.wildcards.network,
        settings=snakemake.params.settings,
        runs=snakemake.params.runs,
        output=snakemake.output[0],
    )
