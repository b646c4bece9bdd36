import threading
import time
from collections.abc import Iterator

import pytest

from isekai import readiness
from isekai.readiness import Question
from tests.processes import wait_until


class Server:
    """Answers when it is let; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()
        self.error: Exception | None = None

    def ask(self) -> str:
        self.asked += 1
        assert self.may_answer.wait(30)
        if self.error is not None:
            raise self.error
        return f"answer {self.asked}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.may_answer.set()


def test_each_question_is_asked_afresh(server: Server) -> None:
    server.may_answer.set()
    question = Question("server", server.ask)
    assert [question.answer(), question.answer()] == ["answer 1", "answer 2"]


def test_no_answer_is_none(server: Server) -> None:
    server.may_answer.set()
    server.error = ConnectionError("away")
    question = Question("server", server.ask)
    assert question.answer() is None
    server.error = None
    assert question.answer() == "answer 2"


def test_a_server_that_hangs_is_not_waited_for(server: Server) -> None:
    question = Question("server", server.ask, seconds=0.1)
    assert question.answer() is None


def test_a_crowd_asks_once(server: Server) -> None:
    question = Question("server", server.ask, seconds=10)
    answers: list[str | None] = []
    crowd = [threading.Thread(target=lambda: answers.append(question.answer())) for _ in range(20)]
    for member in crowd:
        member.start()
    wait_until(lambda: server.asked == 1)
    pending = question.put()
    server.may_answer.set()
    for member in crowd:
        member.join()
    assert set(answers) == {"answer 1"}
    assert pending.result() == "answer 1"


def test_a_question_that_hangs_for_long_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question("server", server.ask, seconds=0.05)
    assert question.answer() is None
    assert question.answer() is None
    assert server.asked == 1, "one thread hangs, however often it is asked"
    monkeypatch.setattr(readiness, "HANGING_SECONDS", 0)
    assert question.answer() is None
    assert server.asked == 2
    server.may_answer.set()
    monkeypatch.undo()
    wait_until(lambda: question.answer() is not None)


def test_only_a_change_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.may_answer.set()
    question = Question("server", server.ask)
    question.answer()
    assert caplog.text == ""
    server.error = ConnectionError("away")
    for _ in range(3):
        question.answer()
    assert caplog.text.count("does_not_answer") == 1
    server.error = None
    for _ in range(3):
        question.answer()
    assert caplog.text.count("answers_again") == 1


def test_time_is_shown_in_utc_to_the_millisecond() -> None:
    assert time.strptime(readiness.timestamp()[:-5] + "Z", "%Y-%m-%dT%H:%M:%SZ")
    assert len(readiness.timestamp()) == len("2026-11-24T06:02:34.721Z")
