from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """What is due next in the whole installation, for whoever wakes the accounts."""

    # An index on a table in use is built beside those who use it.
    atomic = False

    dependencies = [
        ("accounts", "0003_sessions_end_together_and_logins_end"),
        ("deviations", "0002_leases_of_readers"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="deviation",
            index=models.Index(
                condition=models.Q(
                    ("lease_id__isnull", True),
                    ("status__in", ["scheduled", "publishing"]),
                    ("trashed_at__isnull", True),
                ),
                fields=["due_at"],
                name="deviation_next_due",
            ),
        ),
    ]
