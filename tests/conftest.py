"""Settings that every test shares: few threads, no hubs, and what CI does not forgive."""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# Two shared cores: more threads than cores make BLAS and torch many times slower.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# CI draws the same examples every time, so that a red run can be repeated; elsewhere they are new.
settings.register_profile("ci", derandomize=True)
if os.environ.get("ATTAR_CI"):
    settings.load_profile("ci")

HARDWARE = "on this machine"
"""A skip for hardware (an instruction set, a GPU) says so in these words, everywhere."""


def _unforgiven(report: pytest.TestReport | pytest.CollectReport) -> bool:
    """Whether a skip must be a failure: under ATTAR_CI=1 only hardware may be missing."""
    skipped_here = report.skipped and not hasattr(report, "wasxfail")
    return bool(
        os.environ.get("ATTAR_CI") and skipped_here and HARDWARE not in str(report.longrepr)
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _unforgiven(report):
        report.outcome, report.longrepr = (
            "failed",
            f"ATTAR_CI=1 forgives no skip: {report.longrepr}",
        )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _unforgiven(report):
        report.outcome, report.longrepr = (
            "failed",
            f"ATTAR_CI=1 forgives no skip: {report.longrepr}",
        )
    return report
