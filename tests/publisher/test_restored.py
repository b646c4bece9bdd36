"""A real backup, restored under a publisher that has gone on publishing: nothing is published a second time."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from deviations import storage
from deviations.models import Deviation
from isekai.devstack.servers import postgres_folder
from publisher.models import Attempt, GalleryCheck, Publication
from publisher.services import marks, restoring
from tests.connecting import connected_account
from tests.processes import Processes, wait_until
from tests.publisher.works import make_works
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(app_name="Isekai", seed=11) as sandbox:
        yield sandbox


def postgres(program: str, *arguments: str) -> None:
    database = connection.settings_dict
    address = [f"--host={database['HOST']}", f"--port={database['PORT']}", f"--username={database['USER']}"]
    subprocess.run(
        [postgres_folder() / "bin" / program, *address, f"--dbname={database['NAME']}", *arguments],
        check=True,
        env={**os.environ, "PGPASSWORD": database["PASSWORD"]},
    )


def published() -> int:
    return Deviation.objects.filter(status=Deviation.Status.PUBLISHED).count()


def statuses() -> str:
    return str(Counter(Deviation.objects.values_list("title", "status", "reason_code")))


@pytest.mark.parametrize("forgetful", ["redis", "bucket"])
def test_works_published_after_the_backup_are_recognised_or_asked_about_and_never_repeated(
    system: Processes, sandbox: SandboxProcess, tmp_path: Path, forgetful: str
):
    ash, birch = connected_account(sandbox, "ash"), connected_account(sandbox, "birch")
    make_works(ash, 2, title="Before", seed=1)
    system.start("publisher", "beat")
    wait_until(lambda: published() == 2, seconds=120, what=lambda: statuses() + system.log())
    meanwhile = make_works(ash, 3, title="Meanwhile", seed=2, ahead=timedelta(seconds=5))
    meanwhile += make_works(birch, 2, title="Meanwhile", seed=3, ahead=timedelta(seconds=5))
    tomorrow = make_works(ash, 1, title="Tomorrow", seed=4, ahead=timedelta(days=1))
    same_title = make_works(birch, 1, title="Made after the backup", seed=5, ahead=timedelta(days=1))
    postgres("pg_dump", "--format=custom", f"--file={tmp_path / 'backup'}")
    assert published() == 2
    make_works(birch, 1, title="Made after the backup", seed=6)
    wait_until(lambda: published() == 8, seconds=90, what=lambda: statuses() + system.log())
    last = Attempt.objects.filter(step="publish").latest("pk").pk
    wait_until(lambda: marks.Keeper(marks.installation_name()).read().greatest == last, what=system.log)

    system.kill("beat")
    system.kill("publisher")
    connection.close()
    postgres("pg_restore", "--clean", "--if-exists", "--exit-on-error", str(tmp_path / "backup"))
    assert published() == 2
    forget(forgetful)
    system.start("publisher", "beat")
    wait_until(lambda: GalleryCheck.objects.count() == 2, seconds=60, what=system.log)
    restoring.check_again(GalleryCheck.objects.all())
    wait_until(lambda: not GalleryCheck.objects.pending().exists(), seconds=120, what=lambda: statuses() + system.log())
    late = make_works(ash, 1, title="Afterwards", seed=7)
    wait_until(
        lambda: not Deviation.objects.filter(pk__in=[*meanwhile, *late]).exclude(status="published").exists(),
        seconds=120,
        what=lambda: statuses() + system.log(),
    )

    deviations = sandbox.ledger()["deviations"]
    assert Counter(each["sha256"] for each in deviations).most_common(1)[0][1] == 1
    assert len(deviations) == 2 + 5 + 1 + 1
    where = {each["deviationid"]: each["url"] for each in deviations}
    for publication in Publication.objects.live():
        assert publication.url == where[publication.remote_deviation_id]
    assert Deviation.objects.get(pk=tomorrow[0]).status == "scheduled"
    undecided = Deviation.objects.get(pk=same_title[0])
    assert (undecided.status, undecided.reason_code) == ("needs_decision", "restored")
    assert Attempt.objects.filter(step="publish").latest("pk").pk > last


def forget(what: str) -> None:
    """One of the two memories is gone as well."""
    installation = marks.installation_name()
    if what == "redis":
        marks._redis().delete(marks._redis_key(installation), marks._redis_key(installation) + ":at")
    else:
        folder = storage.marks_folder(installation)
        for note in storage.read_notes(folder):
            storage.delete_note(folder, note.name)
