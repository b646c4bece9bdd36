import os
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client, override_settings


@pytest.mark.django_db
@pytest.mark.urls("tests.isekai.urls")
def test_no_page_of_debug_shows_a_secret_of_the_settings() -> None:
    with override_settings(DEBUG=True):
        client = Client(raise_request_exception=False, headers={"Authorization": "Bearer hunter2hunter2"})
        page = client.get("/tests/broken/").content.decode()
    assert "ValueError" in page
    assert "CELERY_BROKER_URL" in page
    secrets = [os.environ[name] for name in ("SECRET_KEY", "ENCRYPTION_KEY", "S3_SECRET_ACCESS_KEY")]
    secrets += [os.environ["DEVIANTART_CLIENT_SECRET"], "hunter2hunter2"]
    secrets += [str(urlsplit(url).password) for url in (settings.DATABASE_URL, settings.REDIS_URL)]
    for secret in secrets:
        assert secret not in page
