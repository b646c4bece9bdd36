"""The names by which services wake the media worker, and beat its tick, lead to the services."""

from deviations.models import DeviationFile, Upload
from deviations.services.drafting import create_draft
from deviations.services.uploading import complete_upload
from isekai.celery import app
from tests import pictures
from tests.uploads import sent_upload


def test_an_upload_becomes_a_ready_file_by_wake_ups_alone(workspace, artist, sent, django_capture_on_commit_callbacks):
    app.loader.import_default_modules()
    upload = sent_upload(workspace, pictures.png(1))

    def work_off() -> None:
        while sent:
            name, *arguments = sent.pop(0)
            assert app.amqp.router.route({}, name)["queue"].name == "media"
            app.tasks[name](*arguments)

    with django_capture_on_commit_callbacks(execute=True):
        complete_upload(upload)
    work_off()
    assert Upload.objects.get().state == Upload.State.VERIFIED
    with django_capture_on_commit_callbacks(execute=True):
        create_draft(workspace, user=artist, upload_ids=[upload.pk])
    work_off()
    assert DeviationFile.objects.get().media_state == DeviationFile.MediaState.READY


def test_beat_ticks_for_lost_wake_ups(workspace, sent, settings, django_capture_on_commit_callbacks):
    settings.MEDIA_SWEEP_SECONDS = 0
    upload = complete_upload(sent_upload(workspace, pictures.png(1)))
    [entry] = [entry for entry in app.conf.beat_schedule.values() if entry["task"] == "media.sweep"]
    with django_capture_on_commit_callbacks(execute=True):
        app.tasks[entry["task"]]()
    assert sent == [("media.read_upload", str(upload.pk))]
