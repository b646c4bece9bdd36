"""From rows to slots: what the slots of automations are computed from, and when each of their rules has its next one.

Everything here takes as many queries for a hundred automations as for one. Whoever acts on a plan holds the rows of its
automations (see `services.changing`), so that no change of a rule, a zone or a blackout comes in between.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Max, QuerySet

from accounts.models import DeviantArtAccount, Membership
from automations import slots
from automations.models import Automation, Blackout, Execution, ScheduleRule
from isekai import clock

# Further back nothing that was made can stand in the way of what is to be made.
MADE_LATELY = timedelta(days=1)


def owners_of(workspaces: Iterable[UUID]) -> dict[UUID, tuple[UUID, str]]:
    """Whose clocks are meant in each workspace, and their zone: of its owners, the one who has been that longest."""
    found = first_owners(workspaces).values_list("workspace_id", "user_id", "user__time_zone")
    return {workspace_id: (user_id, zone) for workspace_id, user_id, zone in found}


def first_owners(workspaces: Iterable[UUID]) -> QuerySet[Membership]:
    """Of the owners of each workspace the one who has been that longest."""
    owners = Membership.objects.filter(workspace__in=set(workspaces), role=Membership.Role.OWNER)
    return owners.order_by("workspace_id", "created_at", "pk").distinct("workspace_id")


def zones_of_owners(workspaces: Iterable[UUID]) -> dict[UUID, str]:
    """The time zone of each workspace: that of its owner; UTC where it has none."""
    found = {workspace: zone for workspace, (_user, zone) in owners_of(workspaces).items()}
    return defaultdict(lambda: "UTC", found)


def zone_of(automation: Automation) -> str:
    """The time zone in which the automation's times are meant."""
    return automation.zone or zones_of_owners([automation.workspace_id])[automation.workspace_id]


def plans_of(
    automations: Collection[Automation], *, rules: Iterable[ScheduleRule] | None = None
) -> dict[UUID, slots.Plan]:
    """What the slots of each of ``automations`` are computed from, by its id.

    ``rules``: all rules of all of them, if the caller has read them already. The blackouts are those of the account
    that an automation names, else of its workspace's only one; of several accounts each draft goes to its own, so
    that whoever picks it asks for the blackouts of that one.
    """
    of_each: dict[UUID, list[ScheduleRule]] = defaultdict(list)
    for rule in ScheduleRule.objects.filter(automation__in=automations) if rules is None else rules:
        of_each[rule.automation_id].append(rule)
    zones = zones_of_owners(each.workspace_id for each in automations)
    accounts = _accounts_of(automations)
    blackouts = _blackouts_of(set(accounts.values()))
    return {
        each.pk: each.plan(
            rules=of_each[each.pk],
            blackouts=blackouts[accounts[each.pk]] if each.pk in accounts else (),
            zone_of_owner=zones[each.workspace_id],
        )
        for each in automations
    }


def plan_anew(automations: Collection[Automation], *, now: datetime | None = None) -> None:
    """Store the next slot of every rule of ``automations``, after something that slots are computed from has changed.

    ``now`` (aware): the database's time unless it is given. What a late tick has not made yet is kept; what was made
    already may be found again, since its execution keeps it from being made twice. Where a change may give a slot
    another number or another rule, nothing is found before the last one that was made.
    """
    now = now or clock.database_now()
    rules = list(ScheduleRule.objects.filter(automation__in=automations))
    plans = plans_of(automations, rules=rules)
    made = _last_made(automations, now - MADE_LATELY)
    moments: dict[UUID, datetime | None] = {}
    for automation in automations:
        of_it = [rule for rule in rules if rule.automation_id == automation.pk]
        for rule in of_it:
            slot = None
            if automation.is_active and rule.enabled:
                start = _where_to_look(rule, of_it, automation, made, now)
                slot = slots.next_slot(plans[automation.pk], start, rule_id=rule.pk)
            if (at := slot.at if slot else None) != rule.next_slot_at:
                moments[rule.pk] = at
    store_next_slots(moments)


def store_next_slots(moments: Mapping[UUID, datetime | None]) -> None:
    """Write down when rules have their next slot, by the rule's id, in one statement; None: none is ahead."""
    if not moments:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {ScheduleRule._meta.db_table} AS rule SET next_slot_at = new.at "  # noqa: S608 - a table's name
            "FROM unnest(%s::uuid[], %s::timestamptz[]) AS new (id, at) WHERE rule.id = new.id",
            [list(moments), list(moments.values())],
        )


def _where_to_look(
    rule: ScheduleRule,
    of_it: Iterable[ScheduleRule],
    automation: Automation,
    made: Mapping[UUID | None, datetime],
    now: datetime,
) -> datetime:
    """From when on the next slot of ``rule`` is looked for; ``of_it`` are all rules of its automation."""
    if automation.combine == Automation.Combine.ALL:
        # The slots are the automation's: another rule may lead from now on.
        waiting, last = [one.next_slot_at for one in of_it], made.get(automation.pk)
    else:
        waiting, last = [rule.next_slot_at], made.get(rule.pk) if rule.type in ScheduleRule.COUNTED else None
    start = min([now, *(at for at in waiting if at is not None)])
    return start if last is None or last < start else last + timedelta(microseconds=1)


def _last_made(automations: Collection[Automation], since: datetime) -> dict[UUID | None, datetime]:
    """The latest slot after ``since`` for which an execution was made: by the id of its rule, and of its automation."""
    made = Execution.objects.filter(automation__in=automations, kind=Execution.Kind.SLOT, slot_at__gt=since)
    last: dict[UUID | None, datetime] = {}
    for rule_id, automation_id, at in made.values_list("rule_id", "automation_id").annotate(Max("slot_at")):
        last[rule_id] = at  # None: of rules that are gone, for which nobody asks
        last[automation_id] = max(last.get(automation_id, at), at)
    return last


def _accounts_of(automations: Collection[Automation]) -> dict[UUID, UUID]:
    """The one account that each automation posts to, by its id; those whose drafts may go to several are left out."""
    found = {each.pk: each.account_id for each in automations if each.account_id is not None}
    asking = {each.workspace_id for each in automations if each.account_id is None}
    if asking:
        of_workspace: dict[UUID, list[UUID]] = defaultdict(list)
        connected = DeviantArtAccount.objects.connected().filter(workspace__in=asking)
        for workspace_id, account_id in connected.values_list("workspace_id", "pk"):
            of_workspace[workspace_id].append(account_id)
        for each in automations:
            if each.account_id is None and len(of_workspace[each.workspace_id]) == 1:
                found[each.pk] = of_workspace[each.workspace_id][0]
    return found


def _blackouts_of(accounts: Collection[UUID]) -> dict[UUID, list[Blackout]]:
    """Those of each account that are not over, or that may still move a slot."""
    # A day more: today by UTC may be yesterday somewhere.
    since = clock.now().date() - timedelta(days=slots.MOVED_AT_MOST_DAYS + 2)
    found: dict[UUID, list[Blackout]] = defaultdict(list)
    for blackout in Blackout.objects.filter(account__in=accounts).ending_after(since):
        found[blackout.account_id].append(blackout)
    return found
