from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.names import by_model
from triplet_distillation.reporting.tables import write_table2

with logged_to(snakemake.log[0]):
    write_table2(
        scores=by_model(snakemake.params.models, snakemake.input.scores),
        labels=snakemake.params.labels,
        benchmarks=snakemake.params.benchmarks,
        training_set=snakemake.input.training_set,
        settings=snakemake.params.settings,
        csv=snakemake.output.csv,
        html_page=snakemake.output.html,
        tex=snakemake.output.tex,
    )
