from triplet_distillation.logs import logged_to
from triplet_distillation.reporting.check import BenchmarkParts, StudyParts, TrainingParts, check_study

with logged_to(snakemake.log[0]):
    parts = dict(snakemake.params.parts)
    parts["benchmarks"] = {name: BenchmarkParts(**each) for name, each in parts["benchmarks"].items()}
    parts["trainings"] = {name: TrainingParts(**each) for name, each in parts["trainings"].items()}
    check_study(StudyParts(**parts), snakemake.params.folder)
