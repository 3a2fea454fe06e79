import os

from triplet_distillation import portable

# Time is measured with this CPU's fastest kernels, which PyTorch chooses when it is loaded.
portable.replace_environment(portable.native_environment(os.environ))

from triplet_distillation.logs import logged_to  # noqa: E402
from triplet_distillation.networks.profile import write_profile  # noqa: E402
from triplet_distillation.provenance import cpu_name  # noqa: E402
from triplet_distillation.sharing import identity, make_once  # noqa: E402

with logged_to(snakemake.log[0]):
    params, output = snakemake.params, snakemake.output[0]
    make_once(
        folder=params.shared_folder,
        decided_by=lambda: {
            "network": params.settings,
            "model": [identity(path) for path in snakemake.input],
            "runs": params.runs,
            "cpu": cpu_name(),
            "code": params.code,
        },
        outputs={"profile": output},
        make=lambda: write_profile(
            name=snakemake.wildcards.network,
            settings=params.settings,
            runs=params.runs,
            output=output,
        ),
    )
