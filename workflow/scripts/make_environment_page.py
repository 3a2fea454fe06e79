from pathlib import Path

from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.environment import describe_environment, write_environment

with logged_to(snakemake.log[0]):
    write_environment(
        environment=describe_environment(Path(snakemake.params.root), snakemake.params.device),
        results=snakemake.input.weights,
        configuration=snakemake.input.config,
        json_file=snakemake.output.json,
        html_page=snakemake.output.html,
    )
