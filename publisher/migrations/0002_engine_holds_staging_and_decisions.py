import django.db.models.deletion
import isekai.clock
import isekai.ids
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_sessions_end_together_and_logins_end"),
        ("deviations", "0003_index_what_is_due_next"),
        ("publisher", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="GalleryCheck",
            fields=[
                ("id", models.UUIDField(default=isekai.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ("published_after", models.DateTimeField(verbose_name="from")),
                ("created_at", models.DateTimeField(default=isekai.clock.now, editable=False, verbose_name="created")),
                ("next_try_at", models.DateTimeField(default=isekai.clock.now, verbose_name="next try")),
                ("done_at", models.DateTimeField(blank=True, null=True, verbose_name="done")),
            ],
            options={
                "verbose_name": "gallery check",
                "verbose_name_plural": "gallery checks",
            },
        ),
        migrations.CreateModel(
            name="InstallationHold",
            fields=[
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("restored", "The database is older than what was published"),
                            ("clock", "The clocks disagree"),
                        ],
                        max_length=16,
                        primary_key=True,
                        serialize=False,
                        verbose_name="reason",
                    ),
                ),
                ("params", models.JSONField(blank=True, default=dict, verbose_name="parameters")),
                ("since", models.DateTimeField(default=isekai.clock.now, verbose_name="since")),
            ],
            options={
                "verbose_name": "hold of the installation",
                "verbose_name_plural": "holds of the installation",
            },
        ),
        migrations.AddField(
            model_name="attempt",
            name="settled_at",
            field=models.DateTimeField(null=True, verbose_name="settled by hand"),
        ),
        migrations.AddField(
            model_name="publication",
            name="is_alone",
            field=models.BooleanField(default=False, editable=False, verbose_name="runs alone"),
        ),
        migrations.AddField(
            model_name="publication",
            name="stage_after",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddConstraint(
            model_name="publication",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("stage_lease_id__isnull", True), ("stage_worker_id__isnull", True)),
                    models.Q(("stage_lease_id__isnull", False), ("stage_worker_id__isnull", False)),
                    _connector="OR",
                ),
                name="publication_stage_lease_has_a_worker",
            ),
        ),
        migrations.AddField(
            model_name="gallerycheck",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="gallery_checks",
                to="accounts.deviantartaccount",
                verbose_name="account",
            ),
        ),
        migrations.AddConstraint(
            model_name="installationhold",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason__in", ["restored", "clock"])), name="installation_hold_reason_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="gallerycheck",
            constraint=models.UniqueConstraint(
                condition=models.Q(("done_at__isnull", True)), fields=("account",), name="gallery_check_one_pending"
            ),
        ),
    ]
