from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext, group_by_model
from triplet_distillation.reporting.tables import write_verification_table

with logged_to(snakemake.log[0]):
    write_verification_table(
        metrics=group_by_model(snakemake.params.models, snakemake.input.metrics),
        context=ReportContext(**snakemake.params.context),
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
    )
