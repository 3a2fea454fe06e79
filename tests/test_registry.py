"""Plug-ins are found by their file; the class may have any name."""

import pytest

from triplet_distillation import registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A plug-in package of losses with files of this test's choice."""
    monkeypatch.setattr(registry, "package_folder", lambda package: tmp_path)
    return tmp_path


def test_every_plugin_has_a_name_of_its_own_and_is_loaded_by_its_file():
    for package, base in registry.PLUGIN_CLASS.items():
        classes = [registry.load(package, name) for name in registry.names(package)]
        assert len({each.__name__ for each in classes}) == len(classes)
        assert all(base in [parent.__name__ for parent in each.__mro__[1:]] for each in classes)


def test_helper_modules_and_private_classes_are_not_plugins(package):
    (package / "helper.py").write_text("class Triplets(NamedTuple):\n    pass\n")
    (package / "half.py").write_text("class _Base(Loss):\n    pass\n")
    (package / "cosface.py").write_text(
        "class _Base(nn.Module):\n    pass\n\n\nclass CosFace(losses.Loss):\n    pass\n"
    )
    assert registry.names("losses") == ["cosface"]


def test_unknown_plugin_is_answered_with_the_known_ones():
    with pytest.raises(registry.PluginError, match=r"'arcfase' is not one of.*Did you mean 'arcface'"):
        registry.load("losses", "arcfase")


def test_settings_and_attributes_are_read_without_importing(package):
    (package / "mine.py").write_text(
        "import no_such_module\n\n\nclass MyLoss(Loss):\n    requires = ('margins',)\n\n"
        "    def __init__(self, context, *, scale: float = 2.0, margin: int):\n        pass\n"
    )
    assert registry.arguments("losses", "mine") == {"scale": ("float", 2.0), "margin": ("int", registry.REQUIRED)}
    assert registry.attribute("losses", "mine", "requires") == ("margins",)
    assert registry.attribute("losses", "mine", "other", default=1) == 1
    with pytest.raises(registry.PluginError, match=r"mine\.py.*does not define 'other'"):
        registry.attribute("losses", "mine", "other")


def test_attributes_may_be_annotated_and_fall_back_to_the_base_class(package):
    (package / "mine.py").write_text("class MyLoss(Loss):\n    requires: tuple[str, ...] = ('margins',)\n")
    assert registry.attribute("losses", "mine", "requires") == ("margins",)
    assert registry.attribute("losses", "mine", "initial") == "student"
    assert registry.arguments("losses", "mine") == {}
    registry.check("losses", "mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class A(Loss):\n    requires = NAMES\n", r"losses/bad\.py: requires is NAMES: write a literal"),
        (
            "class A(Loss):\n    def __init__(self, *, x=1 / 3): ...\n",
            r"bad\.py: the default of x is 1 / 3: write a literal",
        ),
        ("class A(Loss:\n", r"losses/bad\.py cannot be read: .*line 1"),
        ("class A(Loss):\n    requires = 'margins'\n", r"requires must be like \(\), not 'margins'"),
        ("class A(Loss):\n    requires = (3,)\n", r"requires must be like \(\), not \(3,\)"),
        ("class A(Loss):\n    min_batch_size = '8'\n", r"min_batch_size must be like 2, not '8'"),
        ("class A(Loss):\n    require = ('margins',)\n", r"require has no meaning\. Did you mean 'requires'"),
        ("class A(Loss):\n    title, requires = 'a', ()\n", r"set every attribute in a line of its own"),
        ("class A(Loss): ...\nclass B(Loss): ...\n", r"bad\.py has two public classes derived from Loss, A and B"),
        ("class A(B):\n    pass\n", r"bad\.py has no public class that is derived from Loss directly"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_when_it_is_used_and_only_then(package, text, message):
    (package / "bad.py").write_text(text)
    (package / "good.py").write_text("class Good(Loss):\n    pass\n")
    assert "good" in registry.names("losses")
    registry.check("losses", "good")
    with pytest.raises(registry.PluginError, match=message):
        registry.check("losses", "bad")


def test_file_that_is_not_utf8_and_names_that_are_paths_are_refused(package):
    (package / "bad.py").write_bytes("class A(Loss):\n    title = 'é'\n".encode("latin-1"))
    assert registry.names("losses") == []
    with pytest.raises(registry.PluginError, match=r"losses/bad\.py cannot be read"):
        registry.check("losses", "bad")
    for name in ("../losses/bad", "a b", "3a"):
        with pytest.raises(registry.PluginError, match="is not one of"):
            registry.check("losses", name)
