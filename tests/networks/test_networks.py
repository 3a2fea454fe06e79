"""Parameter counts, operation counts and output shapes of the paper's networks."""

from pathlib import Path

import pytest
import torch
import yaml

from triplet_distillation.networks import weights
from triplet_distillation.networks.profile import count_operations, profile

NETWORKS = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())["networks"]


def count_parameters(name):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in weights.create(NETWORKS[name]).parameters())


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [("iresnet100", 65.16e6, 0.001), ("mobilefacenet", 1.00e6, 0.01), ("slim", 0.59e6, 0.01)],
)
def test_parameter_counts(name, expected, tolerance):
    assert count_parameters(name) == pytest.approx(expected, rel=tolerance)


def test_operation_counts():
    teacher, mobilefacenet, slim = (
        count_operations(weights.create(NETWORKS[name]).eval())[0] for name in ("iresnet100", "mobilefacenet", "slim")
    )
    assert teacher == pytest.approx(24.18e9, rel=0.005)
    assert mobilefacenet == pytest.approx(0.44e9, rel=0.01)
    assert slim / mobilefacenet == pytest.approx(0.47, rel=0.02)


def test_operations_of_one_convolution_by_hand():
    """3×3 convolution, 3 → 8 channels, 112×112: 2 · 27 · 8 · 112² operations; BN and PReLU 2 each per output."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.PReLU(8)
    )
    outputs = 8 * 112 * 112
    assert count_operations(layers.eval()) == (2 * 27 * outputs, 2 * 27 * outputs + 4 * outputs)


@pytest.mark.parametrize("depth", [18, 34, 50, 100])
def test_iresnet_convolutions_at_every_depth(depth):
    """Each unit has two convolutions: 2 × units + stem + head is the depth. Four units project the shortcut."""
    with torch.device("meta"):
        network = weights.create({"architecture": "iresnet", "depth": depth})
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert sum(module.kernel_size == (3, 3) for module in convolutions) == {18: 17, 34: 33, 50: 49, 100: 99}[depth]
    assert sum(module.kernel_size == (1, 1) for module in convolutions) == 4


def test_unknown_depth_is_rejected():
    with pytest.raises(ValueError, match="18, 34, 50, 100"):
        weights.create({"architecture": "iresnet", "depth": 101})


@pytest.mark.parametrize(
    "settings",
    [NETWORKS["slim"], NETWORKS["iresnet18_quarter"], {"architecture": "mobilefacenet", "width": 0.5}],
)
def test_embeddings_have_the_requested_size(settings):
    network = weights.create({**settings, "embedding_size": 64}).eval()
    assert network(torch.zeros(2, 3, 112, 112)).shape == (2, 64)


def test_width_scales_the_channels():
    half = weights.create({"architecture": "iresnet", "depth": 18, "width": 0.5})
    assert half.features[0].out_channels == 32
    assert half.head[0].num_features == 256


def test_profile_matches_the_network():
    result = profile(NETWORKS["slim"], runs=2)
    assert result["parameters"] == count_parameters("slim")
    assert result["size_mib"] == pytest.approx(2.3, abs=0.05)
    assert result["seconds_per_image"] > 0
    assert result["macs"] * 2 == result["flops"] < result["flops_elementwise"]


def test_weights_file_is_self_contained(tmp_path):
    torch.manual_seed(0)
    network = weights.create(NETWORKS["slim"]).eval()
    weights.save(tmp_path / "w.safetensors", network, NETWORKS["slim"], {"study": "s", "seed": 0})
    loaded, metadata = weights.load(tmp_path / "w.safetensors")
    image = torch.randn(1, 3, 112, 112)
    assert torch.equal(network(image), loaded(image))
    assert metadata["input"]["color_order"] == "RGB"
    assert metadata["study"] == "s"


def test_saving_twice_gives_identical_bytes(tmp_path):
    network = weights.create(NETWORKS["slim"])
    for name in ("a", "b"):
        weights.save(tmp_path / f"{name}.safetensors", network, NETWORKS["slim"], {"b": 1, "a": 2})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_foreign_weights_file_is_rejected(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="has no network in its metadata"):
        weights.load(tmp_path / "w.safetensors")
