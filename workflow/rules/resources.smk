# Memory and time that jobs ask for, by the size of their inputs and by how often they have been tried.
from typing import NamedTuple


class Demand(NamedTuple):
    """What a job needs: so much for any input, and so much more for each GB of its inputs."""

    mb: int
    mb_per_gb: int
    minutes: int
    minutes_per_gb: int


# Inputs are face stores, embeddings, pairs and scores, of which most are read through a memory map: the fixed part is
# what Python and its libraries take. The numbers are estimates; those measured with benchmarks/ belong here.
DEMANDS = {
    "template": Demand(2000, 100, 30, 5),  # of all rules that say nothing else
    "acquire": Demand(1000, 0, 60, 30),
    "align": Demand(2000, 0, 720, 0),  # one batch of images is in memory; the images are not inputs that have a size
    "merge_shards": Demand(2000, 50, 120, 5),
    "train": Demand(5000, 200, 2880, 0),  # the time follows from the number of steps
    "embed": Demand(5000, 100, 720, 120),
    "embed_test_faces": Demand(5000, 300, 720, 120),
    "evaluate": Demand(2000, 5000, 240, 60),  # kept, selected and fused embeddings at the same time
    "export": Demand(3000, 100, 30, 5),
    "profile": Demand(3000, 2000, 240, 0),
    "compare_structures": Demand(2000, 3000, 120, 30),
    "make_notebook_page": Demand(2000, 3000, 120, 30),
    "make_environment_page": Demand(2000, 0, 30, 0),
    "make_quality_table": Demand(2000, 200, 120, 10),
    "hash_study": Demand(8000, 0, 720, 10),
    "check": Demand(5000, 0, 240, 0),
    "export_training_pack": Demand(2000, 50, 120, 10),
    "create_mxnet_environment": Demand(1000, 0, 30, 0),
    "read_with_mxnet": Demand(2000, 0, 120, 10),
}
GROWTH = 1.5  # from one try to the next, twice; further tries follow preemptions rather than a lack of anything
RESUMED = ("train",)  # what needs no more time in a further try, because it resumes from its checkpoint


def gigabytes(input):
    """Size of a job's inputs; unknown as long as they do not exist, which Snakemake shows as <TBD>."""
    return input.size_mb / 1000 if input else 0


def demand_function(name, amount, amount_per_gb):
    """An input function for a resource: what the rule asks for, and more with further tries."""
    fixed, more = getattr(DEMANDS[name], amount), getattr(DEMANDS[name], amount_per_gb)

    def demanded(wildcards, input, attempt):
        needed = fixed + (more * gigabytes(input) if more else 0)
        resumed = name in RESUMED and amount == "minutes"
        return round(needed * (1 if resumed else GROWTH ** min(attempt - 1, 2)))

    return demanded


def memory_of(name):
    """The resource ``mem_mb`` of a rule."""
    return demand_function(name, "mb", "mb_per_gb")


def minutes_of(name):
    """The resource ``runtime`` of a rule."""
    return demand_function(name, "minutes", "minutes_per_gb")
