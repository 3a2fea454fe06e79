"""What methods ask for reaches them, and every method survives a kill and divides among processes."""

import json
from pathlib import Path

import every_method as every
import numpy as np
import pytest
import torch
from conftest import make_faces
from runs import NETWORK, P_BY_K, make_teacher, run, sibling_folder, stop_after
from safetensors.torch import load_file, save_file

from triplet_distillation import registry
from triplet_distillation.faces import store
from triplet_distillation.faces.store import FaceStore
from triplet_distillation.files import write_json
from triplet_distillation.losses import Loss, LossContext, Step
from triplet_distillation.networks import weights
from triplet_distillation.settings import MethodFiles
from triplet_distillation.tabular import read_table
from triplet_distillation.training import distributed, loss_files
from triplet_distillation.training.batches import BatchDataset, TrainingFaces
from triplet_distillation.training.distributed import DistributedContext
from triplet_distillation.training.guards import TrainingError

SHORT = {"iterations": 4, "checkpoint_every": 2, "sampling": P_BY_K}
STUDENT_SIZE, TEACHER_SIZE = NETWORK["embedding_size"], 4  # as in runs.make_teacher


@pytest.fixture(scope="module")
def one_store(tmp_path_factory):
    """One store for all methods."""
    path = tmp_path_factory.mktemp("store") / "store.arrow"
    store.write(path, make_faces(6, 5), {"origin": "synthetic", "checksum": "0"})
    return path


@pytest.fixture(scope="module")
def required(tmp_path_factory, one_store):
    """Everything that a method may require."""
    small_store, folder = one_store, tmp_path_factory.mktemp("required") / "student"
    folder.mkdir()
    run(folder, small_store, training={"iterations": 2})
    identities = int(read_table(folder.parent / "training_set.parquet").label.max()) + 1
    teacher = make_teacher(folder.parent, small_store, folder / "weights.safetensors")
    margins, means, centers = (folder.parent / name for name in ("margins.json", "means.safetensors", "c.safetensors"))
    write_json(margins, {"min_margin": 0.2, "max_margin": 0.5, "quantiles": {"1": 1.5}})
    loss_files.write_class_means(str(folder.parent / "training_set.parquet"), teacher["embeddings"], str(means))
    save_file({"class_centers": torch.randn(identities, TEACHER_SIZE)}, centers)
    return {
        "teachers": [teacher],
        "margins": str(margins),
        "class_means": str(means),
        "class_centers": str(centers),
        "student_centers": str(folder / "loss.safetensors"),
    }


@pytest.mark.parametrize("name", every.NAMES)
def test_every_method_resumes_to_the_same_bits(name, folder, one_store, required, monkeypatch):
    """Weights, history, and what the loss has trained or moved."""
    settings = {"loss": name, "loss_settings": every.REQUIRED_SETTINGS.get(name), "training": SHORT}
    if torch.cuda.is_available():
        settings["execution"] = {"device": "cuda"}
    run(folder, one_store, required=required, **settings)
    interrupted = sibling_folder(folder, "interrupted")
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, one_store, required=required, **settings)
    run(interrupted, one_store, required=required, **settings)
    for file in ("weights.safetensors", "loss.safetensors", "history.parquet"):
        assert (folder / file).read_bytes() == (interrupted / file).read_bytes(), file


def losses(dist: DistributedContext) -> dict[str, list[float]]:
    """Two losses of every method in double precision, with a gradient step in between."""
    found = {}
    for name in every.NAMES:
        torch.manual_seed(0)
        network = torch.nn.Linear(3, every.SIZE).double()
        model = distributed.wrap_ddp(network, torch.device("cpu"), dist)
        criterion = every.create(name).double()
        optimizer = torch.optim.SGD([*network.parameters(), *criterion.parameters()], lr=0.1)
        found[name] = []
        for index in range(2):
            inputs = torch.randn(12, 3, generator=torch.Generator().manual_seed(index)).double()
            _, step = every.make_batch([i % 4 for i in range(12)], index, torch.float64)
            embeddings = distributed.all_gather(model(inputs[dist.rank_slice(12)]), dist)
            loss, _ = criterion(embeddings, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found[name].append(loss.item())
    return found


def _losses_in_process(rank, folder):
    store = torch.distributed.FileStore(str(folder / "rendezvous"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.set_num_threads(1)
    write_json(folder / f"{rank}.json", losses(DistributedContext(rank, 2)))
    torch.distributed.destroy_process_group()


def test_two_processes_have_one_processs_losses(tmp_path):
    one = losses(DistributedContext())
    torch.multiprocessing.spawn(_losses_in_process, (tmp_path,), nprocs=2)
    for rank in range(2):
        two = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, expected in one.items():
            assert two[name] == pytest.approx(expected, rel=1e-9, abs=1e-12), name


class OddLoss(Loss):
    """Logs another key in every step, and does what ``odd`` says."""

    def __init__(self, context, *, odd=""):
        super().__init__()
        self.odd, self.projection = odd, torch.nn.Linear(context.embedding_size, 2)
        self.register_buffer("bank", torch.zeros(0, context.embedding_size))

    def forward(self, embeddings, step):
        if self.odd == "late parameter":
            self.projection = torch.nn.Linear(embeddings.shape[1], 2)
        if self.odd == "growing buffer":
            self.bank = torch.cat([self.bank, embeddings.detach()])
        loss = self.projection(embeddings).square().mean()
        log = {f"step{step.index}_of_{step.iterations}": 1.0}
        return {
            "rising": (loss + 100.0 * step.index, log),
            "vector": (loss[None], log),
            "only a loss": loss,
            "detached": (loss.detach(), log),
            "reserved name": (loss, {"loss": loss}),
            "vector in the log": (loss, {"part": embeddings[0]}),
        }.get(self.odd, (loss, log))


@pytest.fixture
def odd_loss(monkeypatch):
    original = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: OddLoss if kind == "losses" else original(kind, name))


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ("late parameter", r"OddLoss made its parameters projection\.weight, projection\.bias during a step"),
        ("growing buffer", "OddLoss changed the size of its state bank during a step"),
        ("vector", "OddLoss must return a scalar tensor that depends on the embeddings"),
        ("only a loss", "OddLoss must return a loss and a dict of what to log"),
        ("detached", "OddLoss must return a scalar tensor that depends on the embeddings"),
        ("reserved name", "OddLoss logs loss, which is logged for every method"),
        ("vector in the log", "OddLoss logs 'part', which is not one number"),
    ],
)
def test_what_a_method_does_wrong_is_said_before_or_in_its_first_step(odd_loss, folder, small_store, odd, message):
    with pytest.raises(TrainingError, match=message):
        run(folder, small_store, training=SHORT, loss_settings={"odd": odd})
    assert not list((folder / "checkpoint").glob("*.pt"))


def test_loss_that_grows_by_design_does_not_stop_the_training(odd_loss, folder, small_store, monkeypatch):
    settings = {"training": SHORT | {"iterations": 44}, "loss_settings": {"odd": "rising"}}
    with pytest.raises(TrainingError, match="a loss that grows by design sets loss_may_rise"):
        run(folder, small_store, **settings)
    monkeypatch.setattr(OddLoss, "loss_may_rise", True)
    _, history = run(sibling_folder(folder, "rising"), small_store, **settings)
    assert len(history) == 44


def test_what_is_logged_may_vary_and_survives_a_kill(odd_loss, folder, small_store, monkeypatch):
    _, history = run(folder, small_store, training=SHORT)
    assert [history[f"step{index}_of_4"].notna().tolist().index(True) for index in range(4)] == [0, 1, 2, 3]
    interrupted = sibling_folder(folder, "interrupted")
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, small_store, training=SHORT)
    run(interrupted, small_store, training=SHORT)
    assert (folder / "history.parquet").read_bytes() == (interrupted / "history.parquet").read_bytes()


def test_snapshots_are_the_weights_at_shares_of_the_training_even_after_a_kill(folder, small_store, monkeypatch):
    def snapshots(folder):
        return [str(folder / f"snapshot{number}.safetensors") for number in range(2)]

    training = {"iterations": 6, "checkpoint_every": 2}
    run(folder, small_store, training=training, snapshots=snapshots(folder))
    interrupted = sibling_folder(folder, "interrupted")
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(KeyboardInterrupt):
            run(interrupted, small_store, training=training, snapshots=snapshots(interrupted))
    run(interrupted, small_store, training=training, snapshots=snapshots(interrupted))
    for path, again in zip(snapshots(folder), snapshots(interrupted)):
        assert Path(path).read_bytes() == Path(again).read_bytes()
        assert weights.load(path)[0].embedding_size == STUDENT_SIZE
    first = load_file(snapshots(folder)[0])
    # Two of six steps are the first third of the training with the same schedule.
    with monkeypatch.context() as patched:
        third = sibling_folder(folder, "third")
        stop_after(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            run(third, small_store, training=training | {"checkpoint_every": 1}, snapshots=snapshots(third))
    state = torch.load(third / "checkpoint/step00000002.pt", weights_only=True)["state"]["network"]
    assert all(torch.equal(first[name], tensor) for name, tensor in state.items())


def test_teachers_come_together_or_in_turn(small_store, tmp_path):
    from runs import TRAINING

    from triplet_distillation.settings import TrainingSettings
    from triplet_distillation.training import sampling

    faces, paths = len(FaceStore(small_store)), []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.npy"))
        np.save(paths[-1], np.full((faces, 2, 1), number, np.float32))
    settings = TrainingSettings.from_dict(TRAINING | {"iterations": 6})
    labels = np.arange(faces) % 5
    sampler = sampling.create_sampler(settings.sampling, labels, 0)

    def seen(in_turn):
        files = TrainingFaces(str(small_store), np.arange(faces), labels, tuple(paths), in_turn)
        batches = BatchDataset(files, sampler, settings, 0)
        return [[int(teacher[0, 0]) for teacher in batches[index].teachers] for index in range(6)]

    assert seen(False) == [[0, 1, 2]] * 6
    assert seen(True) == [[0], [0], [1], [1], [2], [2]]


def test_class_means_are_normalized_means_of_images_and_flipped_copies(required, monkeypatch):
    monkeypatch.setattr(loss_files, "CHUNK", 4)
    training_set = Path(required["class_means"]).parent / "training_set.parquet"
    faces, embeddings = read_table(training_set), np.load(required["teachers"][0]["embeddings"])
    output = Path(required["class_means"]).with_name("again.safetensors")
    loss_files.write_class_means(str(training_set), required["teachers"][0]["embeddings"], str(output))
    for label, mean in enumerate(load_file(output)["class_centers"].numpy()):
        expected = embeddings[faces.row[faces.label == label]].reshape(-1, TEACHER_SIZE).astype(float).mean(axis=0)
        np.testing.assert_allclose(mean, expected / np.linalg.norm(expected), rtol=1e-5)
    assert output.read_bytes() == Path(required["class_means"]).read_bytes()


def test_context_has_what_the_files_have(required):
    files = MethodFiles.from_dict(required)
    identities = len(load_file(required["class_means"])["class_centers"])
    context = loss_files.loss_context(files, identities, STUDENT_SIZE, 9)
    assert context.iterations == 9
    assert context.teacher_size == TEACHER_SIZE
    assert context.provided("class_centers").shape == (identities, TEACHER_SIZE)
    assert context.provided("student_centers").shape == (identities, STUDENT_SIZE)
    assert (context.min_margin, context.largest_gap) == (0.2, 1.5)
    with pytest.raises(TrainingError, match=rf"expected class centers of the {identities + 1} identities"):
        loss_files.loss_context(files, identities + 1, STUDENT_SIZE, 9)


def test_what_was_not_required_is_named():
    context = LossContext(3, 4)
    with pytest.raises(ValueError, match="add 'class_means' to what it requires"):
        context.provided("class_means")
    with pytest.raises(ValueError, match="add 'teacher_embeddings' to requires"):
        _ = context.teacher_size
    assert Step(torch.zeros(2), torch.Generator()).teachers == ()
