from typing import Any

from django.apps import AppConfig, apps
from django.db import connection
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        from accounts import metrics  # noqa: F401 - registers what it counts

        post_migrate.connect(make_keys, sender=self, dispatch_uid="accounts.make_keys")


def make_keys(**_options: Any) -> None:
    """Give the keys of the environment their rows as soon as there is a table for them."""
    # Models can be imported only once the apps are loaded.
    from accounts.services.secrets import ensure_keys

    table = apps.get_model("accounts", "EncryptionKey")._meta.db_table
    if table in connection.introspection.table_names():
        ensure_keys()
