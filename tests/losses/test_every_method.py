"""What holds for every method: finite on degenerate inputs, stable state, the same bits on every CPU, short files."""

import copy

import pytest
import torch
from every_method import IDENTITIES, NAMES, create, make_batch
from torch.utils._python_dispatch import TorchDispatchMode

from triplet_distillation import registry

LABELS = [0, 0, 0, 1, 1, 2, 2, 3]
DEGENERATE = {
    "one identity": lambda embeddings, step: (embeddings, step._replace(labels=torch.zeros_like(step.labels))),
    "all identities differ": lambda embeddings, step: (embeddings[:IDENTITIES], _first(step, IDENTITIES)),
    "equal embeddings": lambda embeddings, step: (embeddings[:1].expand(len(embeddings), -1).clone(), step),
    "all-zero embeddings": lambda embeddings, step: (torch.zeros_like(embeddings), step),
    "all-zero teacher": lambda embeddings, step: (embeddings, step._replace(teachers=(0 * step.teacher,))),
    "equal teacher": lambda embeddings, step: (
        embeddings,
        step._replace(teachers=(step.teacher[:1].expand(len(embeddings), -1).clone(),)),
    ),
}


def _first(step, count):
    return step._replace(labels=torch.arange(count), teachers=tuple(each[:count] for each in step.teachers))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", DEGENERATE)
def test_degenerate_inputs_stay_finite(name, change):
    embeddings, step = DEGENERATE[change](*make_batch(LABELS))
    criterion = create(name)
    for number in range(3):  # the second step works with what the first one moved
        embeddings = embeddings.detach().requires_grad_()
        loss, log = criterion(embeddings, step._replace(index=number))
        loss.backward()
        assert loss.ndim == 0
        assert torch.isfinite(loss)
        assert torch.isfinite(embeddings.grad).all()
        assert all(torch.isfinite(parameter.grad).all() for parameter in criterion.parameters())
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in log.values())
        assert all(torch.isfinite(buffer).all() for buffer in criterion.buffers())


@pytest.mark.parametrize("name", NAMES)
def test_smallest_batch_works(name):
    criterion = create(name)
    labels = [0, 0, 1, 1, 2, 2][: max(2, criterion.min_batch_size)]
    embeddings, step = make_batch(labels)
    loss, _ = criterion(embeddings.requires_grad_(), step)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_moves_nothing_and_the_state_restores_the_method(name):
    """A copy that is given another's state goes on alike; outside training, nothing moves."""
    criterion, (embeddings, step) = create(name), make_batch(LABELS)
    criterion(embeddings, step)
    restored = create(name)
    restored.load_state_dict(criterion.state_dict())
    second, later = make_batch(LABELS, seed=3)
    torch.testing.assert_close(restored(second, later)[0], criterion(second, later)[0], rtol=0, atol=0)
    before = copy.deepcopy(criterion.eval().state_dict())
    criterion(embeddings, step)
    assert all(torch.equal(before[key], value) for key, value in criterion.state_dict().items())


class Operations(TorchDispatchMode):
    """The names of all operations that run inside it, backward passes included."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.names.add(function.overloadpacket.__name__.rstrip("_"))
        return function(*arguments, **(keywords or {}))


MKL_VECTOR_LIBRARY = {
    "sqrt",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log10",
    "cos",
    "tan",
    "acos",
    "asin",
    "atan",
    "erf",
    "erfc",
}
MKL_VECTOR_LIBRARY |= {"logsumexp", "cosh", "sinh"}
"""What PyTorch computes with it on CPUs; it rounds differently on different CPUs (``losses/functions.py``)."""


@pytest.mark.parametrize("name", NAMES)
def test_no_operation_of_mkls_vector_library(name):
    criterion, (embeddings, step) = create(name), make_batch(LABELS)
    embeddings.requires_grad_()
    with Operations() as operations:
        for number in range(2):
            criterion(embeddings, step._replace(index=number))[0].backward()
    assert not operations.names & MKL_VECTOR_LIBRARY


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", NAMES)
def test_gpu_agrees_with_cpu(name):
    """Losses, gradients and what moves, over three steps."""
    cpu, gpu = create(name), create(name).cuda()
    for index in range(3):
        embeddings, step = make_batch(LABELS, index)
        on_gpu = step._replace(
            labels=step.labels.cuda(),
            teachers=tuple(each.cuda() for each in step.teachers),
            generator=torch.Generator().manual_seed(1),
        )
        first, second = embeddings.clone().requires_grad_(), embeddings.cuda().requires_grad_()
        losses = cpu(first, step)[0], gpu(second, on_gpu)[0]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(losses[1].cpu(), losses[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(second.grad.cpu(), first.grad, rtol=1e-3, atol=1e-4)
    for key, value in cpu.state_dict().items():
        torch.testing.assert_close(gpu.state_dict()[key].cpu(), value, rtol=1e-3, atol=1e-5)


def test_files_are_short_and_say_what_they_do():
    for path in registry.package_folder("losses").glob("*.py"):
        assert len(path.read_text().splitlines()) < 150, path.name
    for name in NAMES:
        method = registry.load("losses", name)
        assert "Source: " in method.__doc__
        assert set(registry.arguments("losses", name)) <= {word.strip(" :`,") for word in method.__doc__.split()}
        assert method.title
