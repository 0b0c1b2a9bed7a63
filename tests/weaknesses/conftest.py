"""An environment without settings, an empty working folder, and nothing configured afterwards."""

from tests.sdk.conftest import _nothing_configured  # noqa: F401 - a fixture
