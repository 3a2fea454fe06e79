from pathlib import Path

from triplet_distillation.deployment.crate import CrateFacts, workflow_source, write_crate
from triplet_distillation.files import read_json
from triplet_distillation.logs import logged_to, summary
from triplet_distillation.tabular import read_table

with logged_to(snakemake.log[0]):
    timings, environment = read_json(snakemake.input.timings), read_json(snakemake.input.environment)
    licenses = read_table(snakemake.input.quality, text=("dataset", "license"))
    facts = CrateFacts(
        terms="; ".join(f"{name}: {terms}" for name, terms in zip(licenses.dataset, licenses.license)),
        started=timings["started"],
        ended=timings["ended"],
        versions={name: environment["packages"][name] for name in snakemake.params.packages},
        commit=environment["commit"] or "unknown",
        **snakemake.params.facts,
    )
    folder = Path(snakemake.params.folder)
    results = {path.relative_to(folder).as_posix(): path for path in map(Path, snakemake.input)}
    write_crate(facts, results, workflow_source(Path(snakemake.params.root)), snakemake.output[0])
    summary(f"{snakemake.output[0]}: {len(results)} results, {Path(snakemake.output[0]).stat().st_size / 1e6:.1f} MB")
