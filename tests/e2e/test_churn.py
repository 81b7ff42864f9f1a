# SPDX-License-Identifier: Apache-2.0
"""The short form of tools/churn.sh --cloud real."""

from pathlib import Path

import pytest

from tests.churn import real

# The cloud's processes outlive the test that started them, and Python warns of that.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.timeout(900)
def test_a_minute(tmp_path: Path) -> None:
    report = real.run(7, 60, tmp_path)
    print(report.text())
    assert report.violations == []
