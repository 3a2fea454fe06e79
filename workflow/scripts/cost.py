from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.check import StudyParts
from triplet_distillation.reporting.cost import CostParts, write_cost

with logged_to(snakemake.log[0]):
    parts = dict(snakemake.params.parts)
    study = StudyParts.from_dict(parts.pop("study"))
    write_cost(CostParts(study, **parts), snakemake.params.title, snakemake.params.table)
