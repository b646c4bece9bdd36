import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from isekai.checks import settings_fit_each_other, stop_if_wrong


def test_the_settings_of_the_tests_fit_each_other() -> None:
    assert settings_fit_each_other() == []
    stop_if_wrong()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"PUBLISHER_JOB_TIMEOUT_SECONDS": 841}, "PUBLISHER_JOB_TIMEOUT_MS"),
        ({"PUBLISHER_LEASE_SECONDS": 14.9, "PUBLISHER_HEARTBEAT_SECONDS": 5}, "PUBLISHER_LEASE"),
        ({"PUBLISHER_DRAIN_SECONDS": 60, "DEVIANTART_PUBLISH_DEADLINE_SECONDS": 60}, "PUBLISHER_DRAIN"),
        (
            {"DEVIANTART_SUBMIT_DEADLINE_SECONDS": 600, "PUBLISHER_JOB_TIMEOUT_SECONDS": 600},
            "DEVIANTART_SUBMIT_DEADLINE",
        ),
        ({"TOKEN_REFRESH_LEASE_SECONDS": 30, "DEVIANTART_TOKEN_DEADLINE_SECONDS": 30}, "TOKEN_REFRESH_LEASE"),
        ({"ISEKAI_HTTPS": True, "STORAGE_ORIGIN": "http://s3:8333"}, "S3_PRESIGNED_ENDPOINT"),
    ],
)
def test_settings_that_contradict_each_other_are_named(changed: dict[str, object], named: str) -> None:
    with override_settings(**changed):
        problems = settings_fit_each_other()
        assert [str(problem.msg).startswith(named) for problem in problems] == [True]
        assert all(problem.is_serious() for problem in problems)
        with pytest.raises(ImproperlyConfigured, match=named):
            stop_if_wrong()


def test_the_queue_gives_a_job_its_whole_time() -> None:
    assert settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] == settings.CELERY_VISIBILITY_TIMEOUT
    assert settings.CELERY_TASK_EXPIRES < settings.CELERY_VISIBILITY_TIMEOUT
