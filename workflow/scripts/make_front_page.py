from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.context import ReportContext
from triplet_distillation.reporting.front_page import ResultFiles, StudyFacts, write_front_page

with logged_to(snakemake.log[0]):
    write_front_page(
        facts=StudyFacts(**snakemake.params.facts),
        context=ReportContext(**snakemake.params.context),
        files=ResultFiles(**{name: snakemake.input[name] for name in ResultFiles._fields}),
        links=snakemake.params.links,
        output=snakemake.output[0],
    )
