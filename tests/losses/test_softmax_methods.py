"""The losses around a margin softmax, each against its formula in float64, image by image."""

import math

import numpy as np
import pytest
import torch

from triplet_distillation import registry
from triplet_distillation.losses import LossContext, Step

IDENTITIES, TEACHER_SIZE, BATCH = 7, 6, 9
SCALE = 8.0
NAMES = [
    "adadistill",
    "adaface",
    "angular_distillation",
    "center_distillation",
    "cosface",
    "embedding_regression",
    "grouped_kd",
    "hinton",
    "margin_based_kd",
    "margin_distillation",
    "multi_step_kd",
]
NEEDS_NO_TEACHER = ("cosface", "adaface", "center_distillation")


def build(name, size=TEACHER_SIZE, dtype=torch.float64, **settings):
    """The loss ``name`` for a student with embeddings of ``size``, with centers of ordinary length."""
    torch.manual_seed(4)
    means, centers = torch.randn(IDENTITIES, TEACHER_SIZE), 3 * torch.randn(IDENTITIES, TEACHER_SIZE)
    teachers = () if name in NEEDS_NO_TEACHER else (TEACHER_SIZE,)
    context = LossContext(
        IDENTITIES,
        size,
        teacher_sizes=teachers,
        class_means=torch.nn.functional.normalize(means),
        class_centers=centers,
        student_centers=2 * torch.randn(IDENTITIES, size),
    )
    if "scale" in registry.arguments("losses", name):
        settings = {"scale": SCALE, **settings}
    return registry.load("losses", name)(context, **settings).to(dtype)


def batch(size=TEACHER_SIZE, dtype=torch.float64):
    random = torch.Generator().manual_seed(8)
    embeddings = 3 * torch.randn(BATCH, size, generator=random, dtype=dtype)
    teacher = torch.nn.functional.normalize(torch.randn(BATCH, TEACHER_SIZE, generator=random, dtype=dtype))
    return embeddings, Step(torch.tensor([3, 0, 3, 6, 2, 1, 6, 0, 0]), random, (teacher,))


def cos(a, b):
    return a @ b / math.sqrt(a @ a) / math.sqrt(b @ b)


def softmax(logits):
    powers = [math.exp(z) for z in logits]
    return [power / sum(powers) for power in powers]


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q) if a > 0)


def with_margin(f, centers, label, kind="arcface", margin=0.5):
    """Logits of one image."""
    cosines = [cos(f, center) for center in centers]
    label_cosine = cosines[label]
    cosines[label] = math.cos(math.acos(label_cosine) + margin) if kind == "arcface" else label_cosine - margin
    return [SCALE * cosine for cosine in cosines]


def margin_softmax(f, centers, label, kind="arcface", margin=0.5):
    return -math.log(softmax(with_margin(f, centers, label, kind, margin))[label])


class Images:
    """What a reference works on, as NumPy arrays taken before the loss is called."""

    def __init__(self, criterion, embeddings, step):
        arrays = {**dict(criterion.named_parameters()), **dict(criterion.named_buffers())}
        arrays = {key: value.detach().numpy().copy() for key, value in arrays.items()}
        self.student, self.teacher = embeddings.detach().numpy(), step.teacher.numpy()
        self.labels, self.centers = step.labels.tolist(), arrays.get("class_centers")
        self.fixed = arrays.get("teacher_centers")
        matrix = arrays.get("projection.weight")
        self.projected = self.student if matrix is None else self.student @ matrix.T

    def mean(self, of_image):
        return sum(of_image(i) for i in range(len(self.labels))) / len(self.labels)

    def arcface(self, margin=0.5, kind="arcface"):
        return self.mean(lambda i: margin_softmax(self.student[i], self.centers, self.labels[i], kind, margin))


def cosface(images, margin=0.4):
    return images.arcface(margin, "cosface")


def adaface(images, margin=0.4, concentration=0.333, batch_weight=0.99):
    norms = [min(max(math.sqrt(f @ f), 0.001), 100) for f in images.student]
    mean = sum(norms) / len(norms)
    deviation = math.sqrt(sum((norm - mean) ** 2 for norm in norms) / (len(norms) - 1))
    mean, deviation = batch_weight * mean + (1 - batch_weight) * 20, batch_weight * deviation + (1 - batch_weight) * 100
    total = 0.0
    for f, norm, label in zip(images.student, norms, images.labels):
        z = min(max((norm - mean) / (deviation + 0.001) * concentration, -1), 1)
        logits = [SCALE * cos(f, center) for center in images.centers]
        logits[label] = SCALE * (math.cos(math.acos(logits[label] / SCALE) - margin * z) - margin * (1 + z))
        total -= math.log(softmax(logits)[label])
    return total / len(norms)


def center_distillation(images, softmax="arcface", margin="published"):
    margin = {"arcface": 0.45, "cosface": 0.35}[softmax] if margin == "published" else margin
    return images.mean(lambda i: margin_softmax(images.projected[i], images.fixed, images.labels[i], softmax, margin))


def adadistill_centers(images, weighted=True):
    mixed = images.centers.copy()
    for f, t, label in zip(images.projected, images.teacher, images.labels):
        center = images.centers[label]
        alpha = max(cos(f, t), 1e-6)
        alpha = max(alpha * max(cos(center, t), 1e-6), 1e-6) if weighted else alpha
        mixed[label] = alpha * center + (1 - alpha) * t / math.sqrt(t @ t)
    return mixed


def adadistill(images, softmax="arcface", margin="published", weighted=True, start="random"):
    images.fixed = adadistill_centers(images, weighted)
    return center_distillation(images, softmax, margin)


def margin_distillation(images, min_margin=0.2, max_margin=0.5):
    c = [cos(t, images.fixed[label]) for t, label in zip(images.teacher, images.labels)]
    margins = [(max_margin - min_margin) / max(c) * each + min_margin for each in c]
    return images.mean(
        lambda i: margin_softmax(images.projected[i], images.fixed, images.labels[i], "arcface", margins[i])
    )


def angular_distillation(images, weight=1.0, margin=0.5):
    return images.arcface(margin) + weight * images.mean(lambda i: 1 - cos(images.projected[i], images.teacher[i]))


def embedding_regression(images, distance="squared_euclidean"):
    def of_image(i):
        f, t = images.projected[i], images.teacher[i]
        difference = f / np.linalg.norm(f) - t / np.linalg.norm(t)
        return difference @ difference * (1 if distance == "squared_euclidean" else 0.5)

    return images.mean(of_image)


def hinton(images, temperature=4.0, weight=1.0, margin=0.5):
    def of_image(i):
        p = softmax([SCALE * cos(images.teacher[i], center) / temperature for center in images.fixed])
        q = softmax([SCALE * cos(images.student[i], center) / temperature for center in images.centers])
        return divergence(p, q)

    return images.arcface(margin) + weight * temperature**2 * images.mean(of_image)


def margin_based_kd(images, soft_weight=0.95, temperature=4.0, margin=0.5):
    def of_image(i):
        label = images.labels[i]
        teacher = with_margin(images.teacher[i], images.fixed, label, margin=margin)
        student = with_margin(images.student[i], images.centers, label, margin=margin)
        return divergence(softmax([z / temperature for z in teacher]), softmax([z / temperature for z in student]))

    return (1 - soft_weight) * images.arcface(margin) + soft_weight * temperature**2 * images.mean(of_image)


def grouped_kd(images, threshold=0.93, temperature=4.0, primary_weight=4.0, binary_weight=1.0, margin=0.5):
    def of_image(i):
        p = softmax([SCALE * cos(images.teacher[i], center) / temperature for center in images.fixed])
        q = softmax([SCALE * cos(images.student[i], center) / temperature for center in images.centers])
        group, reached = [], 0.0
        for j in sorted(range(len(p)), key=lambda j: -p[j]):
            group, reached = [*group, j], reached + p[j]
            if reached >= threshold:
                break
        mass_p, mass_q = sum(p[j] for j in group), sum(q[j] for j in group)
        within = divergence([p[j] / mass_p for j in group], [q[j] / mass_q for j in group])
        rest = [j for j in range(len(p)) if j not in group]
        split = divergence([mass_p, sum(p[j] for j in rest)], [mass_q, sum(q[j] for j in rest)])
        return primary_weight * within + binary_weight * split

    return images.arcface(margin) + temperature**2 * images.mean(of_image)


def multi_step_kd(images, weight=100.0, margin=0.5):
    return images.arcface(margin) + weight / TEACHER_SIZE * embedding_regression(images)


CASES = [
    ("cosface", {}),
    ("cosface", {"margin": 0.2}),
    ("adaface", {}),
    ("adaface", {"margin": 0.3, "concentration": 3.0, "batch_weight": 0.7}),
    *[("center_distillation", settings) for settings in ({}, {"softmax": "cosface"}, {"margin": 0.3})],
    *[("adadistill", settings) for settings in ({}, {"softmax": "cosface"}, {"weighted": False, "margin": 0.2})],
    ("adadistill", {"start": "class_means"}),
    *[("margin_distillation", settings) for settings in ({}, {"min_margin": 0.0, "max_margin": 0.9})],
    *[("angular_distillation", settings) for settings in ({}, {"weight": 3.0, "margin": 0.3})],
    *[("embedding_regression", settings) for settings in ({}, {"distance": "cosine"})],
    *[("hinton", settings) for settings in ({}, {"temperature": 2.0, "weight": 0.3, "margin": 0.2})],
    *[("margin_based_kd", settings) for settings in ({}, {"soft_weight": 0.4, "temperature": 1.5, "margin": 0.3})],
    *[("grouped_kd", settings) for settings in ({}, {"threshold": 0.5, "binary_weight": 2.0}, {"threshold": 1.0})],
    ("grouped_kd", {"threshold": 1e-3, "temperature": 1.0, "primary_weight": 0.5, "margin": 0.2}),
    *[("multi_step_kd", settings) for settings in ({}, {"weight": 7.0, "margin": 0.1})],
]


@pytest.mark.parametrize("size", [TEACHER_SIZE, 4])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_loss_is_the_formula(name, settings, size):
    criterion, (embeddings, step) = build(name, size, **settings), batch(size)
    images = Images(criterion, embeddings, step)
    loss, log = criterion(embeddings, step)
    assert loss.item() == pytest.approx(globals()[name](images, **settings), rel=1e-9)
    assert all(math.isfinite(float(each)) for each in log.values())


@pytest.mark.parametrize("size", [TEACHER_SIZE, 4])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_finite_differences(name, size):
    """With respect to the embeddings and all that is trained; moving state stands still outside training."""
    criterion, (embeddings, step) = build(name, size).eval(), batch(size)
    trained = dict(criterion.named_parameters())

    def loss(embeddings, *values):
        return torch.func.functional_call(criterion, dict(zip(trained, values)), (embeddings, step))[0]

    if name == "adaface":  # z is a constant for the gradient
        z = criterion._quality(embeddings)
        criterion._quality = lambda embeddings: z
    values = [value.detach().requires_grad_() for value in trained.values()]
    assert torch.autograd.gradcheck(loss, [embeddings.requires_grad_(), *values], fast_mode=True)


DEGENERATE = ["one identity", "equal embeddings", "zero student", "zero teacher", "two images", "embeddings as centers"]


@pytest.mark.parametrize("size", [TEACHER_SIZE, 4])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_batches_have_a_finite_loss_and_gradient(name, case, size):
    settings = {"scale": 64.0} if "scale" in registry.arguments("losses", name) else {}
    criterion, (embeddings, step) = build(name, size, torch.float32, **settings), batch(size, torch.float32)
    teacher, labels = step.teacher, step.labels
    if case == "one identity":
        labels = torch.zeros_like(labels)
    elif case == "equal embeddings":
        embeddings, teacher = embeddings[:1].repeat(BATCH, 1), teacher[:1].repeat(BATCH, 1)
    elif case == "zero student":
        embeddings = torch.zeros_like(embeddings)
    elif case == "zero teacher":
        teacher = torch.zeros_like(teacher)
    elif case == "two images":
        embeddings, teacher, labels = embeddings[:2], teacher[:2], labels[:2]
    elif hasattr(criterion, "class_centers") and criterion.class_centers.shape[1] == size:
        embeddings = criterion.class_centers.detach()[labels].clone()
    embeddings.requires_grad_()
    for _ in range(3):
        loss, log = criterion(embeddings, step._replace(labels=labels, teachers=(teacher,)))
        loss.backward()
    assert all(torch.as_tensor(each).isfinite() for each in [loss, *log.values()])
    assert all(each.isfinite().all() for each in criterion.buffers())
    gradients = [each.grad for each in [embeddings, *criterion.parameters()]]
    assert all(each is not None and each.isfinite().all() for each in gradients)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NEEDS_NO_TEACHER])
def test_no_gradient_reaches_the_teacher(name):
    criterion, (embeddings, step) = build(name), batch()
    teacher = step.teacher.clone().requires_grad_()
    loss, log = criterion(embeddings.requires_grad_(), step._replace(teachers=(teacher,)))
    loss.backward()
    assert teacher.grad is None
    assert embeddings.grad.abs().sum() > 0
    assert not any(each.requires_grad for each in log.values())


@pytest.mark.parametrize("name", NAMES)
def test_only_what_moves_is_in_a_checkpoint_beside_what_is_trained(name):
    criterion = build(name, size=4)
    moving = {"adaface": {"norm_mean", "norm_std"}, "adadistill": {"class_centers"}}.get(name, set())
    assert set(criterion.state_dict()) == {key for key, _ in criterion.named_parameters()} | moving
    provides = registry.attribute("losses", name, "provides", ())
    assert ("class_centers" in provides) == ("class_centers" in dict(criterion.named_parameters()))
    assert ("class_centers" in provides) == ("student_centers" in registry.attribute("losses", name, "requires"))


@pytest.mark.parametrize("weighted", [True, False])
def test_the_last_image_of_an_identity_moves_its_center(weighted):
    criterion, (embeddings, step) = build("adadistill", weighted=weighted), batch()
    expected = adadistill_centers(Images(criterion, embeddings, step), weighted)
    criterion(embeddings, step)
    torch.testing.assert_close(criterion.class_centers, torch.from_numpy(expected), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["adaface", "adadistill"])
def test_state_moves_in_training_only(name):
    criterion, (embeddings, step) = build(name), batch()
    before = {key: value.clone() for key, value in criterion.named_buffers()}
    criterion.eval()(embeddings, step)
    assert all(torch.equal(before[key], value) for key, value in criterion.named_buffers())
    criterion.train()(embeddings, step)
    assert not any(torch.equal(before[key], value) for key, value in criterion.named_buffers())


def test_adadistills_centers_start_small_or_at_the_class_means():
    assert build("adadistill").class_centers.std().item() == pytest.approx(0.01, rel=0.3)
    lengths = build("adadistill", start="class_means").class_centers.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(IDENTITIES).double())


def test_margin_is_the_smallest_where_the_teacher_is_on_no_centers_side():
    criterion, (_, step) = build("margin_distillation"), batch()
    margins = criterion.margins(-criterion.teacher_centers[step.labels], step.labels)
    torch.testing.assert_close(margins, torch.full((BATCH,), 0.2).double())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("margin_distillation", {"min_margin": 0.6}, "min_margin 0.6 is above max_margin 0.5"),
        ("grouped_kd", {"threshold": 0.0}, "above 0 and at most 1"),
        ("center_distillation", {"softmax": "sphereface"}, "unknown softmax 'sphereface'"),
        ("adadistill", {"softmax": "sphereface"}, "unknown softmax 'sphereface'"),
        ("embedding_regression", {"distance": "angular"}, "unknown distance 'angular'"),
    ],
)
def test_impossible_settings_are_rejected(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build(name, **settings)
