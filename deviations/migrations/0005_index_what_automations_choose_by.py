import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

import deviations.models.deviations


class Migration(migrations.Migration):
    """The ways in which an automation chooses among drafts, and when something last went out."""

    # An index on a table in use is built beside those who use it.
    atomic = False

    dependencies = [
        ("deviations", "0004_what_automations_choose_by"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="deviation",
            index=models.Index(
                condition=models.Q(("ready_at__isnull", False), ("status", "draft"), ("trashed_at__isnull", True)),
                fields=["workspace", "created_at", "id"],
                name="deviation_pick_by_age",
            ),
        ),
        AddIndexConcurrently(
            model_name="deviation",
            index=models.Index(
                condition=models.Q(("ready_at__isnull", False), ("status", "draft"), ("trashed_at__isnull", True)),
                fields=["workspace", "-priority", "created_at", "id"],
                name="deviation_pick_by_priority",
            ),
        ),
        AddIndexConcurrently(
            model_name="deviation",
            index=models.Index(
                models.F("workspace"),
                django.db.models.functions.text.Lower("title"),
                models.F("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "draft"), ("trashed_at__isnull", True)),
                name="deviation_pick_by_title",
            ),
        ),
        AddIndexConcurrently(
            model_name="deviation",
            index=models.Index(
                models.F("workspace"),
                deviations.models.deviations.PickKey("id"),
                condition=models.Q(("ready_at__isnull", False), ("status", "draft"), ("trashed_at__isnull", True)),
                name="deviation_pick_by_chance",
            ),
        ),
        AddIndexConcurrently(
            model_name="deviation",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("ready_at__isnull", False), ("status", "draft"), ("trashed_at__isnull", True)),
                fields=["tags"],
                name="deviation_pick_by_tag",
            ),
        ),
        AddIndexConcurrently(
            model_name="deviation",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("ready_at__isnull", False), ("status", "draft"), ("trashed_at__isnull", True)),
                fields=["gallery_ids"],
                name="deviation_pick_by_gallery",
            ),
        ),
        AddIndexConcurrently(
            model_name="deviation",
            index=models.Index(
                condition=models.Q(("status", "published")),
                fields=["account", "-published_at"],
                name="deviation_published_last",
            ),
        ),
    ]
