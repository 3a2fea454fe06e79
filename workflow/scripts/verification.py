from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.names import by_model
from triplet_distillation.reporting.tables import write_verification

with logged_to(snakemake.log[0]):
    write_verification(
        figures=by_model(snakemake.params.models, snakemake.input.figures),
        labels=snakemake.params.labels,
        benchmarks=snakemake.params.benchmarks,
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
    )
