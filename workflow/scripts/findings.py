from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.findings import write_findings
from triplet_distillation.reporting.names import by_model

with logged_to(snakemake.log[0]):
    write_findings(
        scores=by_model(snakemake.params.models, snakemake.input.scores),
        figures=by_model(snakemake.params.models, snakemake.input.figures),
        histories=by_model(snakemake.params.students, snakemake.input.histories),
        margins=dict(zip(snakemake.params.distances, snakemake.input.margins)),
        labels=snakemake.params.labels,
        benchmarks=snakemake.params.benchmarks,
        settings=snakemake.params.settings,
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
    )
