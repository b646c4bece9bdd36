"""Querysets whose SQL is made once. For what is read with every single work, making it costs more than running it."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators

from isekai.prepared import prepared_cursor

M = TypeVar("M", bound=Model)
# Stands for the id that the query is about while its SQL is made.
ANY = UUID(int=0)


class Compiled(Generic[M]):
    """What ``make(id)`` finds, its ``select_related`` and its annotations included, for any id and in any thread.

    ``make`` is called once, and must not depend on settings that tests change.
    """

    def __init__(self, make: Callable[[UUID], "QuerySet[M]"]) -> None:
        self._make = make

    def __call__(self, about: UUID) -> list[M]:
        statement = self._statement
        with prepared_cursor() as cursor:
            cursor.execute(statement.sql, [about if each == ANY else each for each in statement.params])
            rows = cursor.fetchall()
        return [statement.instance(list(row)) for row in rows]

    @cached_property
    def _statement(self) -> "_Statement":
        return _Statement(self._make(ANY))


class _Statement:
    """The SQL of a queryset, and how its rows become instances: as in Django's own `ModelIterable`."""

    def __init__(self, queryset: "QuerySet[Any]") -> None:
        compiler: Any = queryset.query.get_compiler(using=DEFAULT_DB_ALIAS)
        self.sql, self.params = compiler.as_sql()
        self._converters = compiler.get_converters([column[0] for column in compiler.select])
        about: Any = compiler.klass_info
        self._model = about["model"]
        self._first, self._end = about["select_fields"][0], about["select_fields"][-1] + 1
        self._names = [column[0].target.attname for column in compiler.select[self._first : self._end]]
        populators: Any = get_related_populators  # its types are those of another release
        self._related = populators(about, compiler.select, DEFAULT_DB_ALIAS)
        self._annotations = compiler.annotation_col_map or {}

    def instance(self, row: list[Any]) -> Any:
        for place, (converters, expression) in self._converters.items():
            for convert in converters:
                row[place] = convert(row[place], expression, connection)
        found = self._model.from_db(DEFAULT_DB_ALIAS, self._names, row[self._first : self._end])
        for related in self._related:
            related.populate(row, found)
        for name, place in self._annotations.items():
            setattr(found, name, row[place])
        return found


def prefetch(instance: Model, name: str, found: "Compiled[Any]") -> None:
    """Fetch what ``instance.<name>.all()`` shows by ``found``, as `prefetch_related_objects` does.

    ``name`` is that of a reverse foreign key. What was fetched with the instance already stays.
    """
    kept = instance.__dict__.setdefault("_prefetched_objects_cache", {})
    if name in kept:
        return
    rows = found(instance.pk)
    for row in rows:
        setattr(row, getattr(type(instance), name).field.name, instance)
    related: Any = getattr(instance, name).all()
    related._result_cache, related._prefetch_done = rows, True  # noqa: SLF001 - as Django's own prefetching does
    kept[name] = related
