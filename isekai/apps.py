from django.apps import AppConfig


class IsekaiConfig(AppConfig):
    name = "isekai"

    def ready(self) -> None:
        # For their effect: the checks register themselves, the app becomes the current one that tasks are sent by.
        from isekai import celery, checks  # noqa: F401
