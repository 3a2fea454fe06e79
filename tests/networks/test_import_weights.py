"""Weights from elsewhere: what is understood, what is refused, and what a damaged file is called."""

import pytest
import torch
from safetensors.torch import save_file

from triplet_distillation.networks import weights

TINY = {"architecture": "mobilefacenet", "width": 0.125, "embedding_size": 8}
BUFFER = "layers.0.1.running_var"


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return weights.create(TINY).eval()


def import_from(source, settings=TINY):
    output = source.parent / "imported.safetensors"
    weights.import_weights("teacher", settings, str(source), str(output))
    return weights.load(output)[0].state_dict()


def with_prefix(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: with_prefix(state, "module."),
        lambda state: with_prefix(state, "module._orig_mod."),
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"state_dict": with_prefix(state, "module.")}, "name": "tiny"},
        lambda state: {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()},
    ],
    ids=["prefix", "compiled", "nested", "nested with prefix", "half precision"],
)
def test_usual_forms_of_a_state_dictionary_are_taken(tiny, tmp_path, wrap):
    torch.save(wrap(tiny.state_dict()), tmp_path / "mine.pt")
    imported = import_from(tmp_path / "mine.pt")
    for name, expected in tiny.state_dict().items():
        assert imported[name].dtype == expected.dtype
        assert torch.allclose(imported[name], expected, atol=1e-3)


def test_safetensors_with_a_prefix_are_taken(tiny, tmp_path):
    save_file(with_prefix(tiny.state_dict(), "module."), tmp_path / "mine.safetensors")
    assert torch.equal(import_from(tmp_path / "mine.safetensors")[BUFFER], tiny.state_dict()[BUFFER])


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_truncated_files_are_named(tiny, tmp_path, suffix, kept):
    source = tmp_path / f"mine.{suffix}"
    (torch.save if suffix == "pt" else save_file)(tiny.state_dict(), source)
    source.write_bytes(source.read_bytes()[: int(kept * source.stat().st_size)])
    with pytest.raises(ValueError, match=rf"mine\.{suffix} cannot be read .*truncated"):
        import_from(source)


def test_truncated_weights_of_a_study_are_named(tiny, tmp_path):
    path = tmp_path / "weights.safetensors"
    weights.save(path, tiny, TINY, {})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"weights\.safetensors cannot be read"):
        weights.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (weights.create(TINY), r"mine\.pt contains more than weights.*torch\.save\(model\.state_dict\(\)"),
        ([1, 2], r"mine\.pt contains a list, not a state dictionary"),
        ({"epoch": 1, "optimizer": {}}, r"mine\.pt: which .* has epoch, optimizer"),
        ({"model": {}, "backbone": {}, "step": 1}, "2 of the dictionaries"),
    ],
)
def test_other_content_is_refused_with_a_remedy(tmp_path, content, message):
    torch.save(content, tmp_path / "mine.pt")
    with pytest.raises(ValueError, match=message):
        import_from(tmp_path / "mine.pt")


def test_text_is_refused(tmp_path):
    (tmp_path / "mine.pt").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"mine\.pt .*torch\.save\(model\.state_dict\(\)"):
        import_from(tmp_path / "mine.pt")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.complex64], ids=str)
def test_weights_that_are_no_floats_are_refused(tiny, tmp_path, dtype):
    """They would be copied as they are, and a quantized weight of 3 is not 3.0."""
    state = {name: each.to(dtype) if each.is_floating_point() else each for name, each in tiny.state_dict().items()}
    torch.save(state, tmp_path / "mine.pt")
    with pytest.raises(ValueError, match=rf"mine\.pt .*[0-9]+ of another type \(.* {dtype}"):
        import_from(tmp_path / "mine.pt")


def test_differences_are_counted(tiny, tmp_path):
    state = tiny.state_dict()
    names = [name for name in state if name.endswith("weight")][:5]
    save_file({name: each for name, each in state.items() if name not in names}, tmp_path / "mine.safetensors")
    with pytest.raises(ValueError) as missing:
        import_from(tmp_path / "mine.safetensors")
    assert f"5 missing ({', '.join(names[:3])}, …)" in str(missing.value)
    save_file(state | {"classifier": torch.zeros(3)}, tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match=r": 1 unexpected \(classifier\):"):
        import_from(tmp_path / "mine.safetensors")
    save_file(state, tmp_path / "mine.safetensors")
    with pytest.raises(ValueError, match=r"of another shape \(.* instead of .*, …\)") as shapes:
        import_from(tmp_path / "mine.safetensors", TINY | {"width": 0.25})
    assert len(str(shapes.value)) < 1000


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("everywhere", [True, False])
def test_weights_that_are_not_finite_are_not_imported(tiny, tmp_path, number, everywhere):
    state = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    for name in [name for name in state if state[name].is_floating_point()] if everywhere else [BUFFER]:
        state[name].view(-1)[0] = number
    save_file(state, tmp_path / "mine.safetensors")
    kind = "NaN" if number != number else "infinity"
    with pytest.raises(ValueError, match=rf"^teacher \(.*mine\.safetensors\): .* contains {kind}: .*choose others"):
        import_from(tmp_path / "mine.safetensors")


def test_double_precision_beyond_float32_is_not_imported(tiny, tmp_path):
    state = {name: each.double() if each.is_floating_point() else each for name, each in tiny.state_dict().items()}
    state[BUFFER][0] = 1e300
    torch.save(state, tmp_path / "mine.pt")
    with pytest.raises(ValueError, match=rf"{BUFFER}, contains infinity"):
        import_from(tmp_path / "mine.pt")


@pytest.mark.parametrize(
    ("provenance", "remedy"), [({"name": "student"}, "lower learning_rate"), ({"imported_sha256": ""}, "choose other")]
)
def test_weights_that_are_not_finite_are_not_loaded(tmp_path, provenance, remedy):
    network = weights.create(TINY)
    network.get_buffer(BUFFER)[0] = float("nan")
    weights.save(tmp_path / "w.safetensors", network, TINY, provenance)
    name = provenance.get("name", "the model")
    with pytest.raises(ValueError, match=rf"^{name} \(.*w\.safetensors\): .*{BUFFER}, contains NaN: .*{remedy}"):
        weights.load(tmp_path / "w.safetensors")
