from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    """Filters are judged draft by draft, in the order of the choice: an index over tags or galleries was never read."""

    atomic = False

    dependencies = [
        ("deviations", "0006_what_the_camera_says"),
    ]

    operations = [
        RemoveIndexConcurrently(model_name="deviation", name="deviation_pick_by_tag"),
        RemoveIndexConcurrently(model_name="deviation", name="deviation_pick_by_gallery"),
    ]
