"""The page of methods is what the docstrings say."""

import importlib.util
from pathlib import Path

from triplet_distillation import registry

ROOT = Path(__file__).parents[1]


def test_page_of_methods_is_up_to_date_and_complete():
    spec = importlib.util.spec_from_file_location("write_methods", ROOT / "docs/write_methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.page(), "run python docs/write_methods.py"
    for name in registry.names("losses"):
        section = page.split(f"`loss: {name}`")[1].split("\n### ")[0]
        assert all(f"`{setting}`" in section for setting in registry.arguments("losses", name))
        assert "Source: " in section
    assert ":data:" not in page
    assert ":func:" not in page
