"""The control of a distillation: one fixed margin, as large as the distilled ones are on average."""

import numpy as np
import torch

from triplet_distillation import registry
from triplet_distillation.files import write_json
from triplet_distillation.logs import summary
from triplet_distillation.losses import Step
from triplet_distillation.provenance import library_versions
from triplet_distillation.settings import DistillationMargins
from triplet_distillation.tabular import read_table
from triplet_distillation.training import sampling
from triplet_distillation.training.batches import BatchDataset, TrainingFaces
from triplet_distillation.training.loss_files import loss_context


def write_matched_margin(distillation: DistillationMargins, output: str) -> None:
    """Write the mean of F(d) over all triplets of the batches that a distillation will be trained on.

    F(d) depends on the teacher, the batches and the seed alone, not on the student, so it is known before training.

    Args:
        output: JSON, ``margin``, the numbers of ``triplets`` and ``steps``, versions of ``libraries``.
    """
    table = read_table(distillation.training_set)
    labels, settings = table.label.to_numpy(), distillation.training
    teachers = tuple(teacher.embeddings for teacher in distillation.required.teachers)
    # The network does not matter to the margins, so its embedding size is not known here.
    context = loss_context(distillation.required, int(labels.max()) + 1, 1, settings.iterations)
    criterion = registry.load("losses", distillation.loss)(context, **distillation.loss_settings)
    in_turn = "teacher_snapshots" in criterion.requires
    faces = TrainingFaces(distillation.store, table.row.to_numpy(), labels, teachers, in_turn)
    sampler = sampling.create_sampler(settings.sampling, labels, distillation.seed)
    batches = BatchDataset(faces, sampler, settings, distillation.seed)
    generator = torch.Generator()
    sums, counts = [], []
    with torch.inference_mode():
        for step in range(settings.iterations):
            labels_of_step, embeddings = batches.without_images(step)
            current = Step(labels_of_step, generator, embeddings, step, settings.iterations)
            margins = criterion.teacher_margins(current).double()
            sums.append(float(margins.sum()))
            counts.append(len(margins))
    if not sum(counts):
        raise ValueError(f"the batches of {distillation.loss} have no triplets: raise sampling.p and k to 2 or more")
    margin = float(np.sum(sums) / np.sum(counts))
    found = {"margin": margin, "triplets": int(np.sum(counts)), "steps": settings.iterations}
    write_json(output, {**found, "libraries": library_versions()})
    summary(f"mean margin of {distillation.loss}, seed {distillation.seed}: {margin:.3f}")
