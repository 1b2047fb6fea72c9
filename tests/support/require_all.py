"""A skipped test is a failed one with ``GGUFVLM_REQUIRE_ALL=1``, which ``.ci/run`` sets where all tests can run."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

NO_IPV6, NO_MOUNT = "this machine has no IPv6", "this machine permits no mount of a small disk"
_IMPOSSIBLE = (NO_IPV6, NO_MOUNT)  # what no package brings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse(report)
    return report


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if os.environ.get("GGUFVLM_REQUIRE_ALL") == "1" and not reason.endswith(_IMPOSSIBLE):
        report.outcome = "failed"
        report.longrepr = f"GGUFVLM_REQUIRE_ALL=1: {reason}"
