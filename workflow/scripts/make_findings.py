from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext, group_by_model
from triplet_distillation.reporting.findings import StudyResults, write_findings

with logged_to(snakemake.log[0]):
    write_findings(
        results=StudyResults(
            scores=group_by_model(snakemake.params.models, snakemake.input.scores),
            metrics=group_by_model(snakemake.params.models, snakemake.input.metrics),
            histories=group_by_model(snakemake.params.students, snakemake.input.histories),
        ),
        margins=dict(zip(snakemake.params.distances, snakemake.input.margins)),
        context=ReportContext(**snakemake.params.context),
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
    )
