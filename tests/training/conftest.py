"""What the tests of this folder share; trainings themselves are in ``runs``."""

import pytest


@pytest.fixture
def folder(tmp_path):
    """An empty folder for one training."""
    made = tmp_path / "run"
    made.mkdir()
    return made
