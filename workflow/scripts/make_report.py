import subprocess
import sys
from pathlib import Path

from triplet_distillation.files import atomic_write
from triplet_distillation.logs import logged_to, summary

with logged_to(snakemake.log[0]):
    snakefile, results = str(snakemake.params.snakefile), [str(path) for path in snakemake.input.results]
    with atomic_write(Path(snakemake.output[0]).absolute()) as temporary:
        # Snakemake inside Snakemake: it must neither lock nor read the profile, which is for running jobs.
        command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--configfile", snakemake.input.config]
        command += ["--nolock", "--workflow-profile", "none", "--report", str(temporary)]
        # Only with metadata, the report opens with the front page instead of the graph of rules.
        command += ["--report-metadata", snakemake.input.metadata, "--report-stylesheet", snakemake.input.style]
        subprocess.run([*command, "--", *results], check=True)
    summary(f"report: {snakemake.output[0]}")
