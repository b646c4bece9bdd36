import os
import subprocess
import sys
from pathlib import Path

import pytest

from isekai import metrics

GONE = """
from prometheus_client import Counter, Gauge
Counter("jobs", "Jobs").inc(3)
Gauge("in_hand", "In hand", multiprocess_mode="livesum").set(2)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def run_and_end(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", GONE], check=True, env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    )


def test_what_a_process_counted_stays_and_what_it_had_in_hand_goes_with_it(folder: Path) -> None:
    run_and_end(folder)
    run_and_end(folder)
    text = metrics.exposition().decode()
    assert "jobs_total 6.0" in text
    assert "in_hand" not in text
    assert "process_resident_memory_bytes" in text


def test_what_a_living_process_has_in_hand_is_counted(folder: Path) -> None:
    run_and_end(folder)
    (file,) = folder.glob("gauge_livesum_*.db")
    file.rename(folder / f"gauge_livesum_{os.getpid()}.db")
    assert "in_hand 2.0" in metrics.exposition().decode()


def test_a_start_forgets_the_run_before_it(folder: Path) -> None:
    run_and_end(folder)
    own = folder / f"counter_{os.getpid()}.db"
    own.touch()
    metrics.start_anew()
    assert list(folder.glob("*.db")) == [own]


def test_one_process_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics.start_anew()
    assert metrics.shared_folder() is None
    assert b"python_info" in metrics.exposition()
