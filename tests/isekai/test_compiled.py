"""Querysets whose SQL is made once."""

from typing import Any

import pytest
from django.db.models import prefetch_related_objects

from deviations.models import Deviation, DeviationFile
from isekai.compiled import Compiled, prefetch
from tests.factories import DeviationFactory, DeviationFileFactory

pytestmark = pytest.mark.django_db
files = Compiled(lambda pk: DeviationFile.objects.select_related("deviation").filter(deviation=pk))


@pytest.fixture
def work() -> Deviation:
    made: Deviation = DeviationFactory()
    for position in (1, 0):
        DeviationFileFactory(deviation=made, position=position)
    return made


def test_it_finds_what_the_queryset_finds_for_any_id(work: Deviation):
    other = DeviationFileFactory()
    assert files(work.pk) == list(DeviationFile.objects.filter(deviation=work))
    assert files(other.deviation_id) == [other]
    assert files(other.pk) == []


def test_what_is_selected_with_it_needs_no_other_query(work: Deviation, django_assert_num_queries: Any):
    with django_assert_num_queries(1):
        assert [each.deviation for each in files(work.pk)] == [work, work]


def test_what_it_prefetches_is_there_as_if_django_had(work: Deviation, django_assert_num_queries: Any):
    as_by_django = Deviation.objects.get(pk=work.pk)
    prefetch_related_objects([as_by_django], "files")
    again = Deviation.objects.get(pk=work.pk)
    with django_assert_num_queries(1):
        prefetch(again, "files", files)
        prefetch(again, "files", files)
        prefetch_related_objects([again], "files")
        assert list(again.files.all()) == list(as_by_django.files.all())
        assert [each.position for each in again.files.all()] == [0, 1]
        assert all(each.deviation is again for each in again.files.all())
    assert again.files.filter(position=1).count() == 1


def test_what_was_prefetched_before_stays(work: Deviation):
    prefetch_related_objects([work], "files")
    DeviationFile.objects.filter(deviation=work).delete()
    prefetch(work, "files", files)
    assert len(work.files.all()) == 2
