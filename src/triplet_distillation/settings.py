"""Parts of the checked configuration with types: training, execution, evaluation, export.

Rules pass plain dicts, which Snakemake compares to decide what runs again; scripts turn
them into these classes, and everything after that takes them as they are.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

ALWAYS_LOGGED = {"step", "loss", "learning_rate", "mean_cosine"}
"""What every step of a training logs, whatever its method."""


@dataclass(frozen=True)
class SamplingSettings:
    """Which images make up a batch: ``uniform`` with ``batch_size``; ``pk`` with ``p`` identities × ``k`` images.

    ``minimum_images``: identities with fewer images are never among the P;
    ``extra_negatives``: single images of further identities in every batch.
    """

    kind: str
    batch_size: int = 0
    p: int = 0
    k: int = 0
    minimum_images: int = 2
    extra_negatives: int = 0

    @property
    def global_batch_size(self) -> int:
        """Size B of a global batch."""
        return self.batch_size if self.kind == "uniform" else self.p * self.k + self.extra_negatives


@dataclass(frozen=True)
class AugmentationSettings:
    """``flip`` with probability ½; the largest ``shift`` (pixels), relative change of ``contrast``, and change of
    ``brightness`` (gray levels)."""

    flip: bool = True
    shift: int = 0
    contrast: float = 0
    brightness: float = 0


@dataclass(frozen=True)
class TrainingSettings:
    """One training run; config/README.md explains every key."""

    iterations: int
    learning_rate: float
    reference_batch: int
    schedule: str
    milestones: list[int]
    decay: float
    warmup: int
    momentum: float
    weight_decay: float
    clip_norm: float
    sampling: SamplingSettings
    augmentation: AugmentationSettings
    checkpoint_every: int
    loader_workers: int

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "TrainingSettings":
        """From the configuration's ``training``, with every default filled in."""
        nested: dict[str, Any] = {
            "sampling": SamplingSettings(**settings["sampling"]),
            "augmentation": AugmentationSettings(**settings["augmentation"]),
        }
        return cls(**settings | nested)

    @property
    def scaled_learning_rate(self) -> float:
        """The highest learning rate; proportional to the batch size if it is given for a ``reference_batch``."""
        if not self.reference_batch:
            return self.learning_rate
        return self.learning_rate * self.sampling.global_batch_size / self.reference_batch


@dataclass(frozen=True)
class ExecutionSettings:
    """Where networks run: ``threads``, ``device``, ``portable``, ``keep_memory``; the rest concerns training alone."""

    threads: int = 1
    device: str = "cpu"
    portable: bool = False
    precision: str = "fp32"
    compile: bool = False
    keep_memory: bool = True
    processes: int = 1
    nodes: int = 1

    @property
    def world_size(self) -> int:
        """Processes of one training run, on all nodes."""
        return self.processes * self.nodes


@dataclass(frozen=True)
class TeacherFiles:
    """Paths of a teacher's ``weights``, of its ``embeddings`` [faces in store, 2, D] and of their ``sidecar``."""

    weights: str
    embeddings: str
    sidecar: str


@dataclass(frozen=True)
class MethodFiles:
    """Paths of what a method requires; None, or empty, unless it does.

    Attributes:
        teachers: whose embeddings it is told.
        margins: the calibration.
        matched_margin: a distillation's mean margin, for the control that takes it.
        class_means: mean teacher embeddings of the identities.
        class_centers: those of the teacher's classifier, or the means that stand for them.
        student_centers: those of the student from which training starts.
    """

    teachers: tuple[TeacherFiles, ...] = ()
    margins: str | None = None
    matched_margin: str | None = None
    class_means: str | None = None
    class_centers: str | None = None
    student_centers: str | None = None

    @classmethod
    def from_dict(cls, files: dict[str, Any]) -> "MethodFiles":
        """From what ``dataclasses.asdict`` made of it."""
        nested: dict[str, Any] = {"teachers": tuple(TeacherFiles(**each) for each in files.get("teachers", ()))}
        return cls(**files | nested)

    @classmethod
    def from_inputs(cls, files: Any) -> "MethodFiles":
        """From a job's inputs by name: those called like the attributes, and ``teacher_weights``,
        ``teacher_embeddings``, ``teacher_sidecars``, a list each."""
        lists = (files.get(f"teacher_{name}", []) for name in ("weights", "embeddings", "sidecars"))
        names = [field.name for field in dataclasses.fields(cls) if field.name != "teachers"]
        return cls(tuple(map(TeacherFiles, *lists)), **{name: files.get(name) for name in names})

    def paths(self) -> list[str]:
        """All files that the method reads."""
        centers = [self.class_means, self.class_centers, self.student_centers]
        found = [*(teacher.embeddings for teacher in self.teachers), self.margins, self.matched_margin, *centers]
        return [path for path in found if path]


@dataclass(frozen=True)
class TrainingJob:
    """Everything that one training run reads and writes.

    Attributes:
        name: of the model, for the summary.
        seed: determines the initial weights, the batches and every other random choice.
        network: ``architecture`` and its arguments.
        loss: name of the method.
        loss_settings: its arguments.
        training: schedule, sampling, augmentation.
        execution: where it runs.
        code: version of the code, part of the digest that a checkpoint must match.
        store: path of the face store.
        training_set: path of the table ``row, label``.
        weights: output, safetensors.
        history: output, Parquet, one row per step.
        loss_state: output, safetensors: class centers and whatever else the loss has trained or moved.
        timing: output, JSON, the ``seconds`` of the training on this machine, all its parts if it was interrupted.
        snapshots: outputs, weights at equal shares of the training before its end.
        initial: path of the weights to start from; None starts from random ones.
        required: what the method requires.
    """

    name: str
    seed: int
    network: dict[str, Any]
    loss: str
    loss_settings: dict[str, Any]
    training: TrainingSettings
    execution: ExecutionSettings
    code: str
    store: str
    training_set: str
    weights: str
    history: str
    loss_state: str
    timing: str
    snapshots: tuple[str, ...] = ()
    initial: str | None = None
    required: MethodFiles = MethodFiles()

    @classmethod
    def from_dict(cls, job: dict[str, Any]) -> "TrainingJob":
        """From :meth:`as_dict`, or from parts of the configuration, paths and a :class:`MethodFiles`."""
        required = job.get("required", {})
        nested: dict[str, Any] = {
            "training": TrainingSettings.from_dict(job["training"]),
            "execution": ExecutionSettings(**job["execution"]),
            "snapshots": tuple(job.get("snapshots", ())),
            "required": required if isinstance(required, MethodFiles) else MethodFiles.from_dict(required),
        }
        return cls(**job | nested)

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class DistillationMargins:
    """What sets a distillation's margins: its ``loss`` with ``loss_settings``, its batches (``training``, ``seed``,
    ``store``, ``training_set``), and the files that it requires."""

    loss: str
    loss_settings: dict[str, Any]
    training: TrainingSettings
    seed: int
    store: str
    training_set: str
    required: MethodFiles


@dataclass(frozen=True)
class CalibrationSettings:
    """Number of ``triplets``; ``mode``: ``measured`` or ``paper``; ``quantiles`` of d that are m_min and m_max."""

    triplets: int
    mode: str
    quantiles: list[float]


@dataclass(frozen=True)
class TemplateSettings:
    """How faces of a template are fused: weighed by ``detector_score``; normalized before that (``unit_faces``)."""

    detector_score: bool
    unit_faces: bool


@dataclass(frozen=True)
class EvaluationSettings:
    """``flip``: how an image and its flipped copy make one embedding; ``far``: benchmark to the false accept rates of
    interest; ``templates``: benchmark to how templates are made in it."""

    flip: str
    far: dict[str, list[float]]
    templates: dict[str, TemplateSettings]

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "EvaluationSettings":
        """From parts of the configuration."""
        templates = {name: TemplateSettings(**entry) for name, entry in settings["templates"].items()}
        return cls(settings["flip"], settings["far"], templates)


@dataclass(frozen=True)
class ExportSettings:
    """What an exported student carries and how it is described; ``study``: its name; ``benchmarks``: name to label."""

    far: list[float]
    opset: int
    parity_faces: int
    flip: str
    study: str
    title: str
    benchmarks: dict[str, str]
    teacher_license: str
