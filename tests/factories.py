"""The least valid rows; a test spells out what it is about."""

from datetime import date, time, timedelta
from typing import Any

import factory
from django.conf import settings
from factory.django import DjangoModelFactory

from accounts.models import DeviantArtAccount, EncryptionKey, User, Workspace
from automations.models import Automation, Blackout, DefaultValue, Execution, ExecutionWork, ScheduleRule
from deviations.models import Deviation, DeviationFile, FileVariant
from isekai import clock


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User

    username = factory.Sequence(lambda n: f"artist-{n}")

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **fields: Any) -> User:
        return model_class.objects.create_user(*args, **fields)


def workspace_of(user: User) -> Workspace:
    return Workspace.objects.of(user).get()


class EncryptionKeyFactory(DjangoModelFactory):
    class Meta:
        model = EncryptionKey
        django_get_or_create = ("id",)

    id = "testkey"
    digest = "0" * 64
    sentinel = "v1:testkey:"


class DeviantArtAccountFactory(DjangoModelFactory):
    """Its tokens are no real ciphertext; tests about tokens connect through the sandbox instead."""

    class Meta:
        model = DeviantArtAccount

    workspace = factory.LazyFunction(lambda: workspace_of(UserFactory()))
    remote_user_id = factory.Sequence(lambda n: f"00000000-0000-0000-0000-{n:012}".upper())
    username = factory.Sequence(lambda n: f"deviant-{n}")
    scopes = ["basic", "user", "browse", "stash", "publish", "gallery"]
    base_url = factory.LazyFunction(lambda: settings.DEVIANTART_BASE_URL)
    access_token = "v1:testkey:access"
    refresh_token = "v1:testkey:refresh"
    encryption_key = factory.SubFactory(EncryptionKeyFactory)
    access_expires_at = factory.LazyFunction(lambda: clock.now() + timedelta(hours=1))
    refresh_expires_at = factory.LazyFunction(lambda: clock.now() + timedelta(days=90))
    token_version = 1


class DeviationFactory(DjangoModelFactory):
    """A draft without files."""

    class Meta:
        model = Deviation
        skip_postgeneration_save = True

    workspace = factory.LazyFunction(lambda: workspace_of(UserFactory()))
    title = factory.Sequence(lambda n: f"Work {n}")


class DeviationFileFactory(DjangoModelFactory):
    """A verified original whose bytes are not in storage."""

    class Meta:
        model = DeviationFile

    deviation = factory.SubFactory(DeviationFactory)
    position = factory.LazyAttribute(lambda file: file.deviation.files.count())
    original_name = "picture.png"
    storage_key = factory.Sequence(lambda n: f"originals/{n}")
    content_type = "image/png"
    size = 1000
    width = 100
    height = 80
    sha256 = factory.Sequence(lambda n: f"{n:064x}")
    media_state = DeviationFile.MediaState.READY


class PublishVariantFactory(DjangoModelFactory):
    class Meta:
        model = FileVariant

    file = factory.SubFactory(DeviationFileFactory)
    kind = FileVariant.Kind.PUBLISH
    storage_key = factory.LazyAttribute(lambda variant: variant.file.storage_key)
    content_type = factory.LazyAttribute(lambda variant: variant.file.content_type)
    size = factory.LazyAttribute(lambda variant: variant.file.size)
    sha256 = factory.LazyAttribute(lambda variant: variant.file.sha256)


class DueDeviationFactory(DeviationFactory):
    """Scheduled, its moment a second ago, with one file and an able account."""

    account = factory.LazyAttribute(lambda work: DeviantArtAccountFactory(workspace=work.workspace))
    status = Deviation.Status.SCHEDULED
    scheduled_zone = "UTC"
    scheduled_at = factory.LazyFunction(lambda: clock.now() - timedelta(seconds=1))
    publish_at = factory.SelfAttribute("scheduled_at")

    @factory.post_generation  # type: ignore[untyped-decorator]  # the library has no types
    def files(self: Deviation, create: bool, extracted: int | None, **_options: Any) -> None:
        for _ in range(1 if extracted is None else extracted):
            PublishVariantFactory(file=DeviationFileFactory(deviation=self))


class ReadyDraftFactory(DeviationFactory):
    """A draft that an automation may take and schedule: ready, with one file whose copy for DeviantArt is made."""

    ready_at = factory.LazyFunction(clock.now)

    @factory.post_generation  # type: ignore[untyped-decorator]  # the library has no types
    def files(self: Deviation, create: bool, extracted: int | None, **_options: Any) -> None:
        for _ in range(1 if extracted is None else extracted):
            PublishVariantFactory(file=DeviationFileFactory(deviation=self))


class AutomationFactory(DjangoModelFactory):
    """Switched on, oldest first, for the one account of its workspace, without rules and without jitter."""

    class Meta:
        model = Automation

    workspace = factory.LazyFunction(lambda: workspace_of(UserFactory()))
    account = factory.LazyAttribute(lambda automation: DeviantArtAccountFactory(workspace=automation.workspace))
    name = factory.Sequence(lambda n: f"Automation {n}")
    enabled = True
    jitter_max_seconds = 0


class ScheduleRuleFactory(DjangoModelFactory):
    """Every day at nine; a rule of another type has to be given its own columns."""

    class Meta:
        model = ScheduleRule

    automation = factory.SubFactory(AutomationFactory)
    type = ScheduleRule.Type.FIXED_TIME
    time_of_day = factory.LazyAttribute(
        lambda rule: time(9) if rule.type == ScheduleRule.Type.FIXED_TIME else None,
    )


class DefaultValueFactory(DjangoModelFactory):
    class Meta:
        model = DefaultValue

    automation = factory.SubFactory(AutomationFactory)
    field = DefaultValue.Field.TAGS
    value = factory.LazyFunction(lambda: ["sketch"])


class BlackoutFactory(DjangoModelFactory):
    """The last week of 2030."""

    class Meta:
        model = Blackout

    account = factory.SubFactory(DeviantArtAccountFactory)
    from_date = date(2030, 12, 25)
    until_date = date(2030, 12, 31)


class ExecutionFactory(DjangoModelFactory):
    """A slot of today, an hour ahead, for which works were scheduled."""

    class Meta:
        model = Execution

    rule = factory.SubFactory(ScheduleRuleFactory)
    automation = factory.LazyAttribute(lambda execution: execution.rule.automation)
    slot_at = factory.LazyFunction(lambda: clock.now() + timedelta(hours=1))
    local_date = factory.LazyAttribute(lambda execution: execution.slot_at.date())
    outcome = Execution.Outcome.SCHEDULED


class ExecutionWorkFactory(DjangoModelFactory):
    class Meta:
        model = ExecutionWork

    execution = factory.SubFactory(ExecutionFactory)
    deviation = factory.LazyAttribute(
        lambda work: DeviationFactory(workspace=work.execution.automation.workspace),
    )
    method = Automation.Method.FIFO
    publish_at = factory.LazyAttribute(lambda work: work.execution.slot_at)
