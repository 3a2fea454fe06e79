"""ONNX models in many formats are served, with the same embeddings, or refused when they are opened."""

import logging

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from triplet_distillation.networks import weights

IMAGES = weights.normalize_pixels(torch.from_numpy(np.random.default_rng(2).integers(0, 256, (5, 3, 112, 112))))
KERNEL = np.random.default_rng(3).normal(size=(6, 3, 8, 8)) / 8
FLOAT = TensorProto.FLOAT


def write_model(path, shape=("N", 3, 112, 112), element=FLOAT, reshape=(0, 6), scale=1.0, **options):
    """A convolution and a mean over all places: embeddings of 6 numbers.

    Options: ``before``: nodes from ``images`` to ``x``; ``more``: nodes and outputs beside ``embeddings``; ``answers``:
    type of the output; ``initializers``: more of them.
    """
    dtype = helper.tensor_dtype_to_np_dtype(element)
    nodes = [
        *options.get("before", [helper.make_node("Identity", ["images"], ["x"])]),
        helper.make_node("Conv", ["x", "kernel"], ["map"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Reshape", ["mean", "shape"], ["embeddings"]),
    ]
    outputs = [helper.make_tensor_value_info("embeddings", element, options.get("declared"))]
    for node, kind in options.get("more", []):
        nodes.append(node)
        outputs.insert(0, helper.make_tensor_value_info(node.output[0], kind, None))
    initializers = [
        numpy_helper.from_array((KERNEL * scale).astype(dtype), "kernel"),
        numpy_helper.from_array(np.array(reshape, np.int64), "shape"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
        *options.get("initializers", []),
    ]
    images = helper.make_tensor_value_info("images", options.get("input_type", element), shape)
    graph = helper.make_graph(nodes, "g", [images, *options.get("inputs", [])], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def create(path, **settings):
    return weights.create({"architecture": "onnx_teacher", "path": str(path), **settings})


@pytest.fixture
def expected(tmp_path):
    network = create(write_model(tmp_path / "plain.onnx"))
    assert network.embedding_size == 6
    return network(IMAGES)


CAST = [helper.make_node("Cast", ["images"], ["x"], to=FLOAT)]
NHWC = [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2])]


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (2, 3, 112, 112)},
        {"shape": (8, 3, 112, 112)},
        {"shape": (8, 3, 112, 112), "reshape": (8, 6)},
        {"shape": (1, 3, 112, 112), "reshape": (1, 6)},
        {"element": TensorProto.FLOAT16},
        {"input_type": TensorProto.DOUBLE, "before": CAST},
        {"shape": ("N", 112, 112, 3), "before": NHWC},
        {"shape": (4, "h", "w", 3), "before": NHWC},
        {"shape": ("N", 3, "height", "width")},
        {"reshape": (1, 6)},
        {"reshape": (1, -1)},
        {"reshape": (0, 6, 1, 1)},
        {"reshape": (0, 1, 6)},
    ],
    ids=str,
)
def test_formats_that_are_served(tmp_path, expected, options):
    network = create(write_model(tmp_path / "m.onnx", **options))
    assert network.embedding_size == 6
    for images in (1, 3, 5):
        embeddings = network(IMAGES[:images])
        assert embeddings.dtype == torch.float32
        assert torch.allclose(embeddings, expected[:images], atol=2e-3)


def test_one_by_one_where_batches_fail_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert create(write_model(tmp_path / "m.onnx", reshape=(1, 6))).embedding_size == 6
    assert "m.onnx answers otherwise, or not, to a batch of two" in caplog.text


def test_images_that_influence_each_other_are_embedded_one_by_one(tmp_path, expected):
    """Multiplies every image by the largest number of the batch."""
    scale = [helper.make_node("ReduceMax", ["images"], ["top"]), helper.make_node("Mul", ["images", "top"], ["x"])]
    network = create(write_model(tmp_path / "m.onnx", before=scale), pixel_mean=60.0)
    assert torch.allclose(network(IMAGES), torch.cat([network(image[None]) for image in IMAGES]))


def test_a_model_that_answers_for_the_first_image_only_is_given_one_at_a_time(tmp_path, expected):
    first = [
        helper.make_node("Gather", ["images", "zero"], ["first"]),
        helper.make_node("Shape", ["images"], ["size"]),
        helper.make_node("Expand", ["first", "size"], ["x"]),
    ]
    zero = numpy_helper.from_array(np.array([0], np.int64), "zero")
    path = write_model(tmp_path / "m.onnx", before=first, initializers=[zero])
    assert torch.allclose(create(path)(IMAGES), expected, atol=1e-5)


EXTRA = helper.make_tensor_value_info("extra", FLOAT, [1])
SECOND = [(helper.make_node("Relu", ["embeddings"], ["second"]), FLOAT)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": ("N", 3, 160, 160)}, r"takes images \['N', 3, 160, 160\]"),
        ({"input_type": TensorProto.UINT8, "before": CAST}, r"takes images .* tensor\(uint8\), not .* of floats"),
        ({"reshape": (4, 6)}, r"in a batch of 1, .*Reshape.*correct the network's settings"),
        ({"reshape": (0, 2, 3)}, r"answers \[1, 2, 3\] float32 to 1 images, not \[N, D\]"),
        ({"reshape": (-1,)}, r"answers \[6\] float32 to 1 images"),
        ({"inputs": [EXTRA]}, "takes images, extra, not only images"),
        ({"scale": np.nan}, r"the embedding of a test image contains NaN .*choose another model"),
        ({"scale": 0.0}, "is zero"),
        ({"scale": 1e30}, "too long"),
        ({"more": SECOND}, r"not clear: set output to one of second \[1, 6\], embeddings \[1, 6\]"),
    ],
    ids=str,
)
def test_formats_that_are_refused_when_opened(tmp_path, options, message):
    network = create(write_model(tmp_path / "m.onnx", **options))
    with pytest.raises(ValueError, match=rf"m\.onnx.*{message}"):
        network.embedding_size  # noqa: B018


@pytest.mark.parametrize(
    "more",
    [
        [(helper.make_node("ReduceMax", ["map"], ["quality"], keepdims=0), FLOAT)],
        [(helper.make_node("Identity", ["map"], ["features"]), FLOAT)],
        [(helper.make_node("ReduceL2", ["embeddings", "last"], ["length"]), FLOAT)],
    ],
    ids=["scalar", "feature map", "one number each"],
)
def test_the_only_vector_of_several_outputs_is_taken(tmp_path, expected, more):
    network = create(write_model(tmp_path / "m.onnx", more=more))
    assert torch.allclose(network(IMAGES), expected, atol=1e-5)


def test_an_output_can_be_chosen(tmp_path, expected):
    path = write_model(tmp_path / "m.onnx", more=SECOND)
    assert torch.allclose(create(path, output="second")(IMAGES), expected.relu(), atol=1e-5)
    assert torch.allclose(create(path, output="embeddings")(IMAGES), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"m\.onnx .*no output 'third'; its outputs are second .*, embeddings"):
        create(path, output="third").embedding_size  # noqa: B018


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_truncated_models_are_named(tmp_path, kept):
    path = write_model(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"m\.onnx cannot be opened as an ONNX model .*truncated.*again"):
        create(path).embedding_size  # noqa: B018


def test_other_files_are_named_when_imported(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1")
    settings = {"architecture": "onnx_teacher", "path": str(path)}
    with pytest.raises(ValueError, match=r"m\.onnx cannot be opened"):
        weights.import_weights("teacher", settings, str(path), str(tmp_path / "w.safetensors"))
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize(
    "options",
    [{}, {"shape": ("N", 3, "h", "w")}, {"shape": ("N", "h", "w", 3), "before": NHWC}, {"shape": (4, 3, 112, 112)}],
    ids=str,
)
def test_cost_is_that_of_one_image(tmp_path, options):
    """6 · 3 · 8² multiply-adds at 14² places."""
    assert create(write_model(tmp_path / "m.onnx", **options)).cost()["flops"] == 2 * 6 * 3 * 64 * 14**2


@pytest.mark.parametrize("batch_size", [1, 4])
def test_cost_is_that_of_one_image_where_a_reshape_names_the_batch(tmp_path, batch_size):
    """A product of 3·112² pixels with 6 columns after ``Reshape`` to [batch, −1]."""
    shape = numpy_helper.from_array(np.array([batch_size, -1], np.int64), "flat")
    columns = numpy_helper.from_array(np.ones((3 * 112**2, 6), np.float32), "columns")
    product = [
        (helper.make_node("Reshape", ["images", "flat"], ["pixels"]), FLOAT),
        (helper.make_node("MatMul", ["pixels", "columns"], ["product"]), FLOAT),
    ]
    path = write_model(
        tmp_path / "m.onnx", (batch_size, 3, 112, 112), more=product, initializers=[shape, columns], reshape=(-1, 6)
    )
    cost = create(path, output="embeddings").cost()
    assert cost["flops"] == 2 * 6 * 3 * (64 * 14**2 + 112**2)
