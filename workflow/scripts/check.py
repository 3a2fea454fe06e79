from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.check import StudyParts, check_study

with logged_to(snakemake.log[0]):
    check_study(StudyParts.from_dict(snakemake.params.parts), snakemake.params.folder)
