"""The project: settings, urls, the Celery app, health, logging; and the ground floor that knows nobody."""

__version__ = "0.1.0"
