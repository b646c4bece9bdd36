import pytest
from django.core.exceptions import ImproperlyConfigured

from isekai.environment import Environment, looks_guessable

RANDOM = "q8Zt4vB1nX7cW2mK9pR5sD3fG6hJ0lTy"


def environment(**values: str) -> Environment:
    return Environment(values)


def refusal(call: object, *arguments: object, **options: object) -> str:
    with pytest.raises(ImproperlyConfigured) as refused:
        call(*arguments, **options)  # type: ignore[operator]
    return str(refused.value)


@pytest.mark.parametrize("value", ["false", "False", "FALSE", "0", "no", "off", "", " off "])
def test_each_word_for_no_is_false(value: str) -> None:
    assert environment(X=value).boolean("X", True) is False


@pytest.mark.parametrize("value", ["true", "True", "1", "yes", "on", " ON "])
def test_each_word_for_yes_is_true(value: str) -> None:
    assert environment(X=value).boolean("X", False) is True


@pytest.mark.parametrize("value", ["2", "ja", "enabled", "disable", "None", "null", "y", "t", "-1", "1.0", "true;"])
def test_any_other_word_is_neither(value: str) -> None:
    assert refusal(environment(X=value).boolean, "X", False) == (
        "X has a value that cannot be used; expected: one of 1, true, yes, on, 0, false, no, off."
    )


def test_a_switch_that_is_not_set_has_its_default() -> None:
    assert environment().boolean("X", True) is True
    assert environment().boolean("X", False) is False


@pytest.mark.parametrize("value", ["abc", "1.5", "1e3", "0x10", "٣", "1_000", " 5", "--5", "4", "11", "9" * 20, "NaN"])
def test_a_whole_number_is_digits_within_its_bounds(value: str) -> None:
    message = refusal(environment(X=value).integer, "X", 7, least=5, most=10)
    assert message == "X has a value that cannot be used; expected: a whole number from 5 to 10."


def test_a_whole_number_includes_its_bounds() -> None:
    assert [environment(X=value).integer("X", 7, least=5, most=10) for value in ("5", "10", "")] == [5, 10, 7]


@pytest.mark.parametrize("value", ["abc", "-1", "1,5", "1e3", "inf", "nan", "1.", ".5", "11", "٣"])
def test_a_number_is_decimal_and_within_its_bounds(value: str) -> None:
    assert "expected: a number from 0 to 10." in refusal(environment(X=value).decimal, "X", 1, least=0, most=10)


def test_waits_are_scaled() -> None:
    values = environment(WAIT="20")
    values.time_scale = 0.1
    assert values.seconds("WAIT", 5) == pytest.approx(2)
    assert values.seconds("OTHER", 5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "db",
        "db:5432",
        "//db/isekai",
        "http://db",
        "postgresql://",
        "postgresql:///isekai",
        "postgresql://[::1/x",
        "postgresql://db:port/x",
        "postgresql://db:99999/x",
        "postgresql://db:0/x",
    ],
)
def test_a_url_has_one_of_its_schemes_and_a_host(value: str) -> None:
    message = refusal(environment(X=value).url, "X", schemes=["postgresql", "postgres"])
    assert message.endswith("expected: a URL that starts with postgresql:// or postgres://.")


def test_a_url_loses_the_slash_at_its_end() -> None:
    assert environment(X="https://isekai.test/").url("X", schemes=["https"]) == "https://isekai.test"
    assert environment().url("X", schemes=["https"], required=False) == ""


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short",
        "a" * 64,
        "ab" * 32,
        "0123456789abcdef" * 4,
        "change-this-" + RANDOM,
        "CHANGEME" + RANDOM,
        RANDOM + "example",
        "django-insecure-" + RANDOM,
        "minioadmin" * 4,
        "password" + RANDOM,
    ],
)
def test_a_secret_that_can_be_guessed_is_refused(value: str) -> None:
    message = refusal(environment(X=value).secret, "X")
    assert "expected: a random secret of at least 32 characters." in message


def test_a_random_secret_is_taken() -> None:
    assert environment(X=RANDOM).secret("X") == RANDOM
    assert environment().secret("X", required=False) == ""
    assert not looks_guessable(RANDOM)


KEY = "3f" + "0a1b2c3d4e5f60718293a4b5c6d7e8f9" * 2
GOOD_KEY = KEY[:64]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        GOOD_KEY[:-1],
        GOOD_KEY + "0",
        "g" * 64,
        "0" * 64,
        "0123456789abcdef" * 4,
        f"{GOOD_KEY},short",
        f"{GOOD_KEY},,{'f' * 64}",
        "change-this",
    ],
)
def test_an_encryption_key_is_32_random_bytes(value: str) -> None:
    message = refusal(environment(ENCRYPTION_KEY=value).encryption_keys, "ENCRYPTION_KEY")
    assert "expected: 64 random hex digits (32 bytes); older keys may follow after commas." in message


def test_older_encryption_keys_follow_the_newest() -> None:
    older = GOOD_KEY[::-1]
    keys = environment(K=f"{GOOD_KEY}, {older.upper()}").encryption_keys("K")
    assert keys == [bytes.fromhex(GOOD_KEY), bytes.fromhex(older)]


def test_a_choice_is_one_of_the_choices() -> None:
    assert environment(X="b").choice("X", "a", ["a", "b"]) == "b"
    assert environment().choice("X", "a", ["a", "b"]) == "a"
    assert "expected: one of a, b." in refusal(environment(X="c").choice, "X", "a", ["a", "b"])


def test_names_are_separated_by_commas() -> None:
    assert environment(X=" a, b ,,c").names("X", []) == ["a", "b", "c"]
    assert environment().names("X", ["d"]) == ["d"]


def test_a_missing_value_is_named_with_what_is_expected() -> None:
    assert refusal(environment().text, "S3_BUCKET_NAME", expected="a bucket") == (
        "S3_BUCKET_NAME is not set; expected: a bucket."
    )


@pytest.mark.parametrize(
    ("reader", "options"),
    [
        ("boolean", {"default": False}),
        ("integer", {"default": 1}),
        ("decimal", {"default": 1, "least": 0, "most": 2}),
        ("seconds", {"default": 1}),
        ("choice", {"default": "a", "choices": ["a"]}),
        ("url", {"schemes": ["https"]}),
        ("secret", {}),
        ("encryption_keys", {}),
    ],
)
def test_no_refusal_shows_the_value(reader: str, options: dict[str, object]) -> None:
    planted = "hunter2-http://[a:b@c"
    message = refusal(getattr(environment(X=planted), reader), "X", **options)
    assert message.startswith("X has a value that cannot be used; expected: ")
    assert "hunter2" not in message
