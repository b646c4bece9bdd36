from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """The calls of which nobody knows what they did, without those that a person has settled."""

    # An index on a table in use is built beside those who use it.
    atomic = False

    dependencies = [("publisher", "0002_engine_holds_staging_and_decisions")]

    operations = [
        RemoveIndexConcurrently(model_name="attempt", name="attempt_unsettled"),
        AddIndexConcurrently(
            model_name="attempt",
            index=models.Index(
                condition=models.Q(
                    models.Q(("outcome__isnull", True), ("outcome", "unknown"), _connector="OR"),
                    ("settled_at__isnull", True),
                ),
                fields=["publication"],
                name="attempt_unsettled",
            ),
        ),
    ]
