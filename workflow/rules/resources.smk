# Memory and time that jobs ask for, by the size of their inputs and by how often they have been tried.
from typing import NamedTuple

import yaml


class Demand(NamedTuple):
    """What a job needs: so much for any input, and so much more for each GB of its inputs, or of those called
    ``inputs``."""

    mb: int
    mb_per_gb: int
    minutes: int
    minutes_per_gb: int
    inputs: list[str] | None = None


DEMANDS = {
    name: Demand(**demand) for name, demand in yaml.safe_load((ROOT / "workflow/resources.yaml").read_text()).items()
}
SNAKEMAKE_MB = 300  # a scheduler counts the Snakemake that runs the job on its node as well
GROWTH = 1.5  # from one try to the next, twice; further tries follow preemptions rather than a lack of anything
RESUMED = ("train",)  # what needs no more time in a further try, because it resumes from its checkpoint


def gigabytes(input, names):
    """Size of a job's inputs, or of those with these names; unknown as long as they do not exist, which Snakemake shows
    as <TBD>."""
    if not input:
        return 0
    if names is None:
        return input.size_mb / 1000
    counted = {path for name in names for path in as_list(input.get(name, []))}
    return sum(size for path, size in zip(input, input.size_files_mb) if path in counted) / 1000


def as_list(paths):
    """The paths of a named input, which may be one."""
    return [paths] if isinstance(paths, str) else list(paths)


def demand_function(name, amount, amount_per_gb, processes=1):
    """An input function for a resource: what the rule asks for each of its processes, and more with further tries."""
    demand = DEMANDS[name]
    fixed, more = getattr(demand, amount), getattr(demand, amount_per_gb)
    own = SNAKEMAKE_MB if amount == "mb" else 0

    def demanded(wildcards, input, attempt):
        needed = fixed + (more * gigabytes(input, demand.inputs) if more else 0)
        resumed = name in RESUMED and amount == "minutes"
        return own + round(needed * processes * (1 if resumed else GROWTH ** min(attempt - 1, 2)))

    return demanded


def memory_of(name, processes=1):
    """The resource ``mem_mb`` of a rule whose jobs have so many processes on a machine."""
    return demand_function(name, "mb", "mb_per_gb", processes)


def minutes_of(name):
    """The resource ``runtime`` of a rule."""
    return demand_function(name, "minutes", "minutes_per_gb")
