"""Losses on relations between embeddings, against plain loops in float64."""

import itertools
import math

import numpy as np
import pytest
import torch

from triplet_distillation import registry
from triplet_distillation.losses import LossContext, Step

LABELS = [0, 0, 0, 1, 1, 2, 2, 3]
SIZE, TEACHER_SIZE = 5, 7


def random_tensor(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CONTEXT = LossContext(
    num_identities=4,
    embedding_size=SIZE,
    teacher_sizes=(TEACHER_SIZE,),
    min_margin=0.2,
    max_margin=0.5,
    class_means=random_tensor(9, 4, TEACHER_SIZE),
    student_centers=random_tensor(8, 4, SIZE),
)
STUDENT, TEACHER = random_tensor(1, len(LABELS), SIZE), random_tensor(2, len(LABELS), TEACHER_SIZE)


def create(name, settings):
    return registry.load("losses", name)(CONTEXT, **settings).double()


def make_step(labels=tuple(LABELS), teacher=TEACHER):
    return Step(torch.tensor(labels), torch.Generator().manual_seed(1), (teacher,))


def unit(rows):
    return [row / np.linalg.norm(row) for row in np.asarray(rows)]


def mean_over(indices, function):
    return np.mean([function(*each) for each in indices])


def pairs(count):
    return itertools.product(range(count), repeat=2)


def huber(x):
    return 0.5 * x**2 if abs(x) < 1 else abs(x) - 0.5


def rkd(student, teacher, distance_weight=25, angle_weight=50):
    count = len(student)

    def distance(rows, i, j):
        mean = sum(np.linalg.norm(rows[k] - rows[m]) for k, m in pairs(count)) / (count * (count - 1))
        return np.linalg.norm(rows[i] - rows[j]) / mean

    def angle(rows, i, j, k):
        a, b = rows[i] - rows[j], rows[k] - rows[j]
        return 0.0 if j in (i, k) else a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    triples = list(itertools.product(range(count), repeat=3))
    distances = mean_over(pairs(count), lambda i, j: huber(distance(student, i, j) - distance(teacher, i, j)))
    angles = mean_over(triples, lambda i, j, k: huber(angle(student, i, j, k) - angle(teacher, i, j, k)))
    return distance_weight * distances + angle_weight * angles


def darkrank(student, teacher, alpha=3, beta=3, list_length=3):
    total = 0.0
    for query in range(len(student)):
        others = [x for x in range(len(student)) if x != query]
        others.sort(key=lambda x: np.linalg.norm(teacher[query] - teacher[x]))
        weights = [math.exp(-alpha * np.linalg.norm(student[query] - student[x]) ** beta) for x in others[:list_length]]
        total -= sum(math.log(weights[i] / sum(weights[i:])) for i in range(list_length))
    return total / len(student)


def correlation_congruence(student, teacher, gamma=0.4, order=2, weight=1):
    def kernel(x, y):
        powers = range(order + 1)
        return sum(math.exp(-2 * gamma) * (2 * gamma) ** k / math.factorial(k) * (x @ y) ** k for k in powers)

    def squared(i, j):
        return (kernel(student[i], student[j]) - kernel(teacher[i], teacher[j])) ** 2

    return weight * mean_over(pairs(len(student)), squared)


def similarity_preserving(student, teacher, weight=1):
    return weight * mean_over(
        pairs(len(student)), lambda i, j: (student[i] @ student[j] - teacher[i] @ teacher[j]) ** 2
    )


def class_center_triplets(student, teacher, distance="squared_euclidean"):
    measure = {
        "squared_euclidean": lambda u, v: 2 - 2 * u @ v,
        "cosine": lambda u, v: 1 - u @ v,
        "angular": lambda u, v: math.acos(min(u @ v, 1 - 1e-7)),
    }[distance]
    means = unit(CONTEXT.class_means)

    def apart(a, n):
        return measure(means[LABELS[a]], means[LABELS[n]]) - (math.acos(1 - 1e-7) if distance == "angular" else 0)

    valid = [t for t in itertools.permutations(range(len(LABELS)), 3) if LABELS[t[0]] == LABELS[t[1]] != LABELS[t[2]]]
    largest = max(apart(a, n) for a, _, n in valid)

    def hinge(a, p, n):
        margin = (0.5 - 0.2) / largest * apart(a, n) + 0.2
        return max(measure(student[a], student[p]) - measure(student[a], student[n]) + margin, 0)

    return mean_over(valid, hinge)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


ANCHORS = (2, 5, 20)


class EKDReference:
    """EKD over several steps, with thresholds and queue as lists."""

    def __init__(self, hardest_impostors=10, critical_only=False, queue=0, temperature=0.3):
        self.hardest, self.critical_only = hardest_impostors, critical_only
        self.queue, self.temperature = queue, temperature
        self.thresholds = [[0.0] * len(ANCHORS) for _ in range(2)]
        self.earlier = []

    def squared(self, pair):
        (student, teacher), (student_thresholds, teacher_thresholds) = pair, self.thresholds
        rank = [
            sum(sigmoid((similarity - threshold) / self.temperature) for threshold in thresholds)
            for similarity, thresholds in ((student, student_thresholds), (teacher, teacher_thresholds))
        ]
        return (rank[0] - rank[1]) ** 2

    def is_critical(self, pair):
        both = zip(*self.thresholds)
        return any((pair[0] > student) != (pair[1] > teacher) for student, teacher in both)

    def __call__(self, student, teacher):
        batch = list(zip(student, teacher, LABELS))
        genuine, impostor = [], []
        for i, (f, t, label) in enumerate(batch):
            for other_f, other_t, other_label in batch[i + 1 :] + self.earlier:
                (genuine if label == other_label else impostor).append((f @ other_f, t @ other_t))
        for whose in range(2):
            ordered = sorted((pair[whose] for pair in impostor), reverse=True)
            self.thresholds[whose] = [
                0.99 * old + 0.01 * ordered[len(ordered) // anchor]
                for old, anchor in zip(self.thresholds[whose], ANCHORS)
            ]
        self.earlier = (batch + self.earlier)[: self.queue]
        impostor = sorted(impostor, reverse=True)[: self.hardest]
        if self.critical_only:
            genuine, impostor = (list(filter(self.is_critical, each)) for each in (genuine, impostor))
        terms = [np.mean([self.squared(pair) for pair in each]) if each else 0.0 for each in (genuine, impostor)]
        return 0.02 * terms[0] + 0.01 * terms[1]


def arcface(student):
    centers, total = unit(CONTEXT.student_centers), 0.0
    for row, label in zip(student, LABELS):
        cosine = [row @ center for center in centers]
        logits = [64 * c for c in cosine]
        logits[label] = 64 * math.cos(math.acos(cosine[label]) + 0.4)
        total -= logits[label] - math.log(sum(math.exp(logit) for logit in logits))
    return total / len(LABELS)


CASES = [
    ("rkd", rkd, {}),
    ("rkd", rkd, {"distance_weight": 3.0, "angle_weight": 0.0}),
    ("rkd", rkd, {"distance_weight": 0.0, "angle_weight": 2.0}),
    ("darkrank", darkrank, {}),
    ("darkrank", darkrank, {"alpha": 1.5, "beta": 1, "list_length": 5}),
    ("correlation_congruence", correlation_congruence, {}),
    ("correlation_congruence", correlation_congruence, {"gamma": 0.7, "order": 4, "weight": 3.0}),
    ("similarity_preserving", similarity_preserving, {}),
    ("similarity_preserving", similarity_preserving, {"weight": 7.0}),
    ("class_center_triplets", class_center_triplets, {}),
    ("class_center_triplets", class_center_triplets, {"distance": "cosine"}),
    ("class_center_triplets", class_center_triplets, {"distance": "angular"}),
]


@pytest.mark.parametrize(("name", "reference", "settings"), CASES, ids=lambda value: str(value))
def test_loss_matches_the_formula(name, reference, settings):
    loss, _ = create(name, settings)(STUDENT, make_step())
    assert loss.item() == pytest.approx(reference(unit(STUDENT), unit(TEACHER), **settings), rel=1e-9)


EKD_CASES = [
    {},
    {"hardest_impostors": 1000},
    {"critical_only": True},
    {"queue": 11},
    {"queue": 5, "critical_only": True},
]


@pytest.mark.parametrize("settings", EKD_CASES, ids=str)
def test_ekd_matches_the_formula_over_steps(settings):
    settings = {"hardest_impostors": 10, "temperature": 0.3} | settings
    criterion, reference = create("ekd", {"anchors": ANCHORS, **settings}), EKDReference(**settings)
    for seed in range(3):
        student, teacher = STUDENT + seed * random_tensor(3, *STUDENT.shape), TEACHER + seed
        loss, log = criterion(student, make_step(teacher=teacher))
        relations = reference(unit(student), unit(teacher))
        assert log["relations"].item() == pytest.approx(relations, rel=1e-9)
        assert loss.item() == pytest.approx(arcface(unit(student)) + relations, rel=1e-9)
        for found, expected in zip((criterion.student_thresholds, criterion.teacher_thresholds), reference.thresholds):
            assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_ekd_does_not_move_its_state_outside_training():
    criterion = create("ekd", {"queue": 4}).eval()
    before = {name: buffer.clone() for name, buffer in criterion.named_buffers()}
    criterion(STUDENT, make_step())
    assert all(torch.equal(buffer, before[name]) for name, buffer in criterion.named_buffers())


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, _, settings in CASES] + [("ekd", {"temperature": 0.3, "scale": 8.0, "queue": 11})],
    ids=str,
)
def test_gradients(name, settings):
    """By finite differences, with the state held fixed; the teacher has none."""
    criterion, teacher = create(name, settings), TEACHER.clone().requires_grad_()
    if name == "ekd":
        criterion(STUDENT.flip(0), make_step())  # fills the queue, and moves the thresholds from 0
    criterion.eval()
    assert torch.autograd.gradcheck(lambda e, *_: criterion(e, make_step())[0], (STUDENT.clone().requires_grad_(),))
    for parameter in criterion.parameters():
        assert torch.autograd.gradcheck(lambda _: criterion(STUDENT, make_step())[0], (parameter,))
    criterion(STUDENT.clone().requires_grad_(), make_step(teacher=teacher))[0].backward()
    assert teacher.grad is None


NAMES = ["rkd", "darkrank", "correlation_congruence", "similarity_preserving", "class_center_triplets", "ekd"]
DEGENERATE = {
    "one identity": (STUDENT, TEACHER, [0] * 8),
    "equal embeddings": (STUDENT[:1].repeat(8, 1), TEACHER, LABELS),
    "equal embeddings of both": (STUDENT[:1].repeat(8, 1), TEACHER[:1].repeat(8, 1), LABELS),
    "zero embeddings": (0 * STUDENT, TEACHER, LABELS),
    "zero embeddings of the teacher": (STUDENT, 0 * TEACHER, LABELS),
    "zero embeddings of both": (0 * STUDENT, 0 * TEACHER, LABELS),
    "the smallest batch": (STUDENT, TEACHER, None),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_are_finite_in_float32(name, case):
    student, teacher, labels = DEGENERATE[case]
    criterion = create(name, {}).float()
    if labels is None:
        size = criterion.min_batch_size
        student, teacher, labels = student[:size], teacher[:size], list(range(size))
    embeddings = student.float().clone().requires_grad_()
    loss, log = criterion(embeddings, make_step(labels, teacher.float()))
    loss.backward()
    for found in (loss, embeddings.grad, *(parameter.grad for parameter in criterion.parameters())):
        assert torch.isfinite(found).all()
    assert all(math.isfinite(value) for value in log.values())


def test_copies_of_a_photograph_do_not_blow_up_the_gradient_of_rkd():
    """Two rows that differ by rounding errors, as the same image at two places of a batch does."""
    student, teacher = STUDENT.float(), TEACHER.float()
    student[1], teacher[1] = student[0] * (1 + 3e-7 * torch.tensor([1, -1, 1, -1, 1])), teacher[0]
    embeddings = student.clone().requires_grad_()
    create("rkd", {}).float()(embeddings, make_step(teacher=teacher))[0].backward()
    assert embeddings.grad.norm() < 100


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("class_center_triplets", "ekd")])
def test_students_like_the_teacher_lose_least(name):
    criterion = create(name, {})
    alike, _ = criterion(TEACHER * torch.arange(1, 9)[:, None], make_step())
    if name != "darkrank":
        assert alike.item() == pytest.approx(0, abs=1e-12)
    assert alike < criterion(STUDENT, make_step())[0]


def test_class_center_margins_are_those_of_the_identities():
    """A teacher that embeds every photograph at its class mean gives the margins of triplet distillation."""
    step = make_step(teacher=CONTEXT.provided("class_means")[LABELS])
    margins = create("class_center_triplets", {}).teacher_margins(step)
    torch.testing.assert_close(margins, create("triplet_distillation", {}).teacher_margins(step))
    assert len(set(np.round(margins.tolist(), 9))) <= 6  # pairs of identities
    assert margins.max().item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rkd", {"distance_weight": 0.0, "angle_weight": 0.0}, "nothing is left"),
        ("darkrank", {"beta": 0}, "beta is 0"),
        ("correlation_congruence", {"order": 0}, "order is 0"),
        ("ekd", {"anchors": [1, 10]}, "anchors has 1"),
    ],
)
def test_settings_out_of_range_are_rejected(name, settings, message):
    with pytest.raises(ValueError, match=message):
        create(name, settings)


def test_darkrank_names_the_batch_that_is_too_small():
    with pytest.raises(ValueError, match="batch of 8 images is too small for lists of 8 others"):
        create("darkrank", {"list_length": 8})(STUDENT, make_step())


def test_class_centers_need_the_teachers_means():
    with pytest.raises(ValueError, match="class_means"):
        registry.load("losses", "class_center_triplets")(CONTEXT._replace(class_means=None))
    with pytest.raises(ValueError, match="margins of a calibration"):
        registry.load("losses", "class_center_triplets")(CONTEXT._replace(min_margin=None))
