from automations.models.automations import Automation, AutomationQuerySet
from automations.models.blackouts import Blackout, BlackoutQuerySet
from automations.models.defaults import DefaultValue, DefaultValueQuerySet
from automations.models.executions import Execution, ExecutionQuerySet, ExecutionWork
from automations.models.rules import ScheduleRule, ScheduleRuleQuerySet

__all__ = [
    "Automation",
    "AutomationQuerySet",
    "Blackout",
    "BlackoutQuerySet",
    "DefaultValue",
    "DefaultValueQuerySet",
    "Execution",
    "ExecutionQuerySet",
    "ExecutionWork",
    "ScheduleRule",
    "ScheduleRuleQuerySet",
]
