"""Statements whose plans the server keeps."""

import pytest
from django.db import DatabaseError, IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from isekai.prepared import prepared_cursor, written_out

pytestmark = pytest.mark.django_db(transaction=True)
STATEMENT = "SELECT %s::integer + 1"


def ask(number: int) -> int:
    with prepared_cursor() as cursor:
        cursor.execute(STATEMENT, [number])
        answer: int = cursor.fetchone()[0]
    return answer


def kept() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::integer + 1'")
        number: int = cursor.fetchone()[0]
    return number


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    connection.close()
    connection.ensure_connection()


def test_the_plan_is_kept_from_the_second_time_on():
    assert [ask(1), kept(), ask(2), kept(), ask(3), kept()] == [2, 0, 3, 1, 4, 1]


def test_behind_a_transaction_pooler_no_plan_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection.connection, "prepare_threshold", None)
    assert [ask(number) for number in range(5)] == [1, 2, 3, 4, 5]
    assert kept() == 0


def test_it_is_counted_as_any_other_query():
    with CaptureQueriesContext(connection) as queries:
        ask(1)
    assert [each["sql"] for each in queries] == ["SELECT 1::integer + 1"]


def test_its_errors_are_djangos():
    with pytest.raises(IntegrityError), prepared_cursor() as cursor:
        cursor.execute("INSERT INTO publisher_installationhold VALUES (%s, %s::jsonb, now())", ["x", "{}"])


def test_a_statement_that_is_wrong_is_an_error_of_the_database():
    with pytest.raises(DatabaseError), prepared_cursor() as cursor:
        cursor.execute("SELECT no_such_column")


def test_what_is_written_out_has_its_values_in_its_text():
    users = User.objects.filter(username="50 % of 'us' %s").values("username")
    User.objects.create_user("50 % of 'us' %s")
    with prepared_cursor() as cursor:
        cursor.execute(f"{written_out(users)} LIMIT %s", [2])
        assert cursor.fetchall() == [("50 % of 'us' %s",)]


def test_one_value_may_stay_a_parameter():
    users = User.objects.filter(username="any").values("username")
    User.objects.create_user("one")
    with prepared_cursor() as cursor:
        cursor.execute(written_out(users, parameter="any"), ["one"])
        assert cursor.fetchall() == [("one",)]
