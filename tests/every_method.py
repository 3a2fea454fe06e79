"""Every method of the package, ready to use on small random inputs."""

import torch

from triplet_distillation import registry
from triplet_distillation.losses import Loss, LossContext, Step

NAMES = registry.names("losses")
REQUIRED_SETTINGS = {"triplet": {"margin": 0.3}}
IDENTITIES, SIZE, TEACHER_SIZE = 6, 5, 7


def context(teacher_size: int = TEACHER_SIZE) -> LossContext:
    """A context that has everything."""
    generator = torch.Generator().manual_seed(11)
    means, centers = torch.randn(2, IDENTITIES, teacher_size, generator=generator)
    return LossContext(
        IDENTITIES,
        SIZE,
        iterations=4,
        teacher_sizes=(teacher_size,),
        min_margin=0.2,
        max_margin=0.5,
        largest_gap=1.5,
        class_means=torch.nn.functional.normalize(means),
        class_centers=centers,
        student_centers=torch.randn(IDENTITIES, SIZE, generator=generator),
    )


def create(name: str, teacher_size: int = TEACHER_SIZE) -> Loss:
    """A method with its default settings and the same weights every time."""
    torch.manual_seed(0)
    return registry.load("losses", name)(context(teacher_size), **REQUIRED_SETTINGS.get(name, {}))


def make_batch(labels: list[int], seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, Step]:
    """Random embeddings, and the step with a teacher's."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(len(labels), SIZE, generator=generator, dtype=dtype)
    teacher = torch.nn.functional.normalize(torch.randn(len(labels), TEACHER_SIZE, generator=generator, dtype=dtype))
    return embeddings, Step(torch.tensor(labels), torch.Generator().manual_seed(1), (teacher,), seed, 4)
