"""The editor's forms together: an automation with its rules and default values, as they are or as they were typed."""

from collections.abc import Mapping
from typing import Any, Self
from uuid import UUID

from django.http import QueryDict
from django.utils.translation import gettext as _

from accounts.models import User
from automations.models import Automation, DefaultValue, ScheduleRule
from automations.services.editing import Said
from automations.services.rules import RULES_MAX
from automations.web.forms import (
    NOT_OFFERED,
    AutomationForm,
    DefaultForm,
    Part,
    RuleForm,
    new_default_form,
    new_rule_form,
)
from isekai.ids import new_id


class Editor:
    def __init__(self, form: AutomationForm, rules: list[RuleForm], defaults: list[DefaultForm]) -> None:
        self.form, self.rules, self.defaults = form, rules, defaults

    @classmethod
    def of(cls, automation: Automation, user: User) -> Self:
        """As it is saved."""
        places = {name: place for place, name in enumerate(DefaultValue.Field.values)}
        return cls(
            AutomationForm(automation=automation, user=user),
            [RuleForm.of(rule) for rule in automation.rules.order_by("priority", "pk")],
            [
                DefaultForm.of(default)
                for default in sorted(automation.default_values.all(), key=lambda one: places[one.field])
            ],
        )

    @classmethod
    def sent(cls, data: QueryDict, automation: Automation, user: User) -> Self:
        """As it was typed; what names nothing that we know is left out."""
        ids = [pk for text in data.getlist("rule") if (pk := _id_of(text)) is not None]
        # One more than there may be, which the service then refuses.
        rules = [RuleForm(data, rule_id=pk) for pk in dict.fromkeys(ids[: RULES_MAX + 1])]
        names = [name for name in dict.fromkeys(data.getlist("default")) if name in DefaultValue.Field.values]
        return cls(
            AutomationForm(data, automation=automation, user=user),
            [rule for rule in rules if rule.is_known],
            [DefaultForm(data, name=name) for name in names],
        )

    def is_valid(self) -> bool:
        # Whether a form is valid, it keeps for whoever shows it: none of them is left out.
        return not any(form.errors for form in self.forms)

    @property
    def forms(self) -> list[Part]:
        return [self.form, *self.rules, *self.defaults]

    def said(self) -> Said:
        return Said(
            fields=self.form.said(),
            rules=[rule.said() for rule in self.rules],
            default_values=[default.said() for default in self.defaults],
        )

    def note(self, details: Mapping[str, Any]) -> None:
        """Put what a service refused to its fields."""
        rest = dict(details)
        of_rules, of_defaults = rest.pop("rules", {}), rest.pop("default_values", {})
        for rule in self.rules:
            rule.note(of_rules.get(str(rule.rule_id), {}))
        for default in self.defaults:
            default.note(of_defaults.get(default.name.value, {}))
        self.form.note(rest)

    def problems(self) -> list[str]:
        """Everything that is wrong, in one list: by the name of its field."""
        return [
            _("%(field)s: %(reason)s") % {"field": form[name].label, "reason": reason}
            if name in form.fields
            else str(reason)
            for form in self.forms
            for name, reasons in form.errors.items()
            for reason in reasons
        ]

    # --- parts that come and go before anything is saved -------------------------------------------------------------
    def do(self, what: str, data: QueryDict) -> None:
        """Add or take out a rule or a default value, as a button of the page says; all else stays as it was typed."""
        self.form = AutomationForm(automation=self.form.automation, user=self.form.user, initial=self.form.as_typed())
        self.rules = [RuleForm(rule_id=rule.rule_id, initial=rule.as_typed()) for rule in self.rules]
        self.defaults = [DefaultForm(name=default.name, initial=default.as_typed()) for default in self.defaults]
        action, _colon, which = what.partition(":")
        match action:
            case "add-rule" if (kind := data.get("new_rule", "")) in ScheduleRule.Type.values:
                self.rules.append(new_rule_form(kind, new_id()))
            case "remove-rule":
                self.rules = [rule for rule in self.rules if str(rule.rule_id) != which]
            case "add-default" if (name := data.get("new_default", "")) in self.names_left:
                self.defaults.append(new_default_form(name))
            case "remove-default":
                self.defaults = [default for default in self.defaults if default.name.value != which]

    @property
    def rule_types(self) -> list[tuple[str, str]]:
        return [(kind.value, str(kind.label)) for kind in ScheduleRule.Type]

    @property
    def names_left(self) -> dict[str, str]:
        """Fields for which there is no default value yet, with their names."""
        have = {default.name for default in self.defaults} | set(NOT_OFFERED)
        return {each.value: str(each.label) for each in DefaultValue.Field if each not in have}


def _id_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
