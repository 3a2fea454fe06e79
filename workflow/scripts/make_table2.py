from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext, group_by_model
from triplet_distillation.reporting.tables import TableFiles, write_table2

with logged_to(snakemake.log[0]):
    write_table2(
        scores=group_by_model(snakemake.params.models, snakemake.input.scores),
        context=ReportContext(**snakemake.params.context),
        training_set=snakemake.input.training_set,
        outputs=TableFiles(snakemake.output.csv, snakemake.output.html, snakemake.output.tex),
    )
