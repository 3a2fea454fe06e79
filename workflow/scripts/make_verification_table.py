from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.protocols import describe_protocols
from triplet_distillation.reporting.tables import TableFiles, write_verification_table

with logged_to(snakemake.log[0]):
    context = ReportContext(**snakemake.params.context)
    metrics = context.by_model(snakemake.input.metrics)
    protocols = describe_protocols(context, snakemake.input.stores)
    outputs = TableFiles(snakemake.output.csv, snakemake.output.html, snakemake.output.tex)
    write_verification_table(metrics, context, protocols, outputs)
