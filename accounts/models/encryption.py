from django.db import models
from django.utils.translation import gettext_lazy as _

from isekai import clock


class EncryptionKey(models.Model):
    """A key that secrets at rest were encrypted with; its bytes are only in the environment (ENCRYPTION_KEY)."""

    id = models.CharField(_("key id"), primary_key=True, max_length=16)
    digest = models.CharField(_("digest"), max_length=64, unique=True)
    # A known text under this key: at the start it proves that the environment still has the same key.
    sentinel = models.TextField(_("sentinel"))
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True)

    class Meta:
        verbose_name = _("encryption key")
        verbose_name_plural = _("encryption keys")

    def __str__(self) -> str:
        return self.id
