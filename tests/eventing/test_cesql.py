"""CESQL beyond its conformance kit: what it refuses and where, its limits, and that nothing breaks it."""

from __future__ import annotations

import gc
import random
import re
import time
import tracemalloc
from fnmatch import translate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.eventing.cesql import Value, compile
from homeostat.eventing.cesql.expression import MAX_LENGTH
from homeostat.eventing.cesql.functions import FUNCTIONS, MAX_TEXT
from homeostat.eventing.cesql.operators import BINARY
from homeostat.eventing.cesql.parser import MAX_DEPTH
from homeostat.eventing.cesql.patterns import MAX_PATTERN, matcher
from homeostat.eventing.errors import Reject

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/plant/7",
    "type": "dev.homeostat.data.landed",
    "subject": "pump",
    "hops": "5",
    "late": "true",
}
KINDS = {"math", "cast", "missingAttribute", "missingFunction", "functionEvaluation"}


def value(text: str, **more: object) -> tuple[Value, str | None]:
    found, error = compile(text).evaluate({**EVENT, **more})
    return found, error and error.kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The precedences of §3.6: functions, NOT, minus, LIKE and IN, * / %, + -, comparisons, logic.
        ("2 + 3 * 4", 14),
        ("10 - 4 - 3", 3),
        ("100 / 10 / 5", 2),
        ("7 - 2 = 5", True),
        ("1 + 1 IN (1)", 2),
        ("NOT subject = 'pump'", None),
        ("NOT late = 'false'", True),
        ("-hops + 6", 1),
        ("1 < 2 = true", True),
        ("subject LIKE 'p%' IN (TRUE)", True),
        ("NOT EXISTS nothing AND EXISTS subject", True),
        # Equal in precedence and read from the right, as the grammar and the engines have it.
        ("TRUE OR TRUE AND FALSE", True),
        ("FALSE AND FALSE OR TRUE", False),
        ("TRUE XOR TRUE AND FALSE", True),
        ("TRUE XOR FALSE XOR TRUE", False),
        ("TRUE XOR FALSE OR TRUE", False),
        # Signs and blanks.
        ("4-1", 3),
        ("4 -1", 3),
        ("4 - -1", 5),
        ("4--1", 5),
        ("+7", 7),
        ("-2147483648", -2147483648),
        ("- 5", -5),
        ("hops-1", 4),
        ("\t1\r\n+ 1 ", 2),
        # Division towards zero, the remainder with the sign of the left side.
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        # Strings and what is escaped in them.
        (r"'it\'s'", "it's"),
        (r"'a\b'", r"a\b"),
        (r"'a\\'", r"a\\"),
        ('"it\'s"', "it's"),
        (r"""'say \"so\"'""", r"say \"so\""),
        ("''", ""),
        ("LENGTH('🌎é')", 2),
        ("TRIM('\u2003\u001f a \u00a0')", "\u001f a"),
        ("SUBSTRING('abc', 2, 100)", "bc"),
        ("LEFT('abc', 3)", "abc"),
        ("RIGHT('abc', 0)", ""),
        ("RIGHT('abc', 1)", "c"),
        ("Concat_Ws('-', subject, 1, TRUE)", "pump-1-true"),
        ("IS_INT(hops) AND NOT IS_INT(subject) AND IS_BOOL(late)", True),
        ("INT('+7') + INT('-007')", 0),
        # Casts go by the right side, and by IN's left side.
        ("hops = 5", True),
        ("5 = hops", True),
        ("late = TRUE", True),
        ("TRUE = 'true'", True),
        ("TRUE < 2", True),
        ("0 AND TRUE", False),
        ("10 AND TRUE", True),
        ("NOT 0", True),
        ("NOT 1", False),
        ("hops IN ('5', 'x')", True),
        ("SUBJECT = 'pump'", True),
        ("subject = 'Pump'", False),
    ],
)
def test_an_expression_means_what_the_specification_says(text: str, expected: Value | None) -> None:
    if expected is None:  # NOT binds tighter than `=`, so the subject is what must be a boolean
        assert value(text) == (False, "cast")
    else:
        found, error = value(text)
        assert (type(found), found, error) == (type(expected), expected, None)


@pytest.mark.parametrize(
    ("text", "result", "kind"),
    [
        ("2147483647 + 1", 0, "math"),
        ("-2147483648 / -1", 0, "math"),
        ("- (-2147483648)", 0, "math"),
        ("65536 * 65536 = 0", False, "math"),
        ("hops % 0", 0, "math"),
        ("subject < 3", False, "cast"),
        ("INT('2147483648')", 0, "cast"),
        ("INT('٣')", 0, "cast"),
        ("INT(' 1')", 0, "cast"),
        ("INT('1_0')", 0, "cast"),
        ("INT('')", 0, "cast"),
        ("1 IN ('x', 1)", False, "cast"),
        ("TRUE AND subject", False, "cast"),
        ("missing", False, "missingAttribute"),
        ("UPPER(missing)", "", "missingAttribute"),
        ("subject IN (missing, 'pump')", False, "missingAttribute"),
        ("NOTHING(1)", False, "missingFunction"),
        ("LENGTH()", False, "missingFunction"),
        ("LEFT('abc', -1)", "abc", "functionEvaluation"),
        ("LENGTH(LEFT('abc', -1))", 0, "functionEvaluation"),
        ("1 + ABS(-2147483648)", 0, "math"),
        ("CONCAT(LEFT('abc', -1), 'x')", "", "functionEvaluation"),
        ("SUBSTRING('abc', 2, -1)", "", "functionEvaluation"),
        ("SUBSTRING('', 1)", "", "functionEvaluation"),
        ("NOT NOT 10", False, "cast"),
    ],
)
def test_an_error_comes_with_the_value_of_what_failed(text: str, result: Value, kind: str) -> None:
    found, error = value(text)
    assert (type(found), found, error) == (type(result), result, kind)


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        ("", None, "write an expression"),
        ("   ", None, "write an expression"),
        ("subject = ", 11, "expected a value"),
        ("subject 'pump'", 9, "expected an operator"),
        ("(subject", 9, r"expected \)"),
        ("subject)", 8, "close brackets"),
        ("subject = 'pump", 11, "close it with '"),
        ("subject = 'it''s'", 15, r"write \\' for a quote"),
        ("subject = 'pump' && TRUE", 18, "no such sign"),
        ("subject = “pump”", 11, "no such sign"),
        ("subject LIKE source", 14, "LIKE takes a string literal"),
        ("subject IN ()", 13, "expected a value"),
        ("subject IN 'pump'", 12, r"expected \("),
        ("subject NOT 'pump'", 9, "NOT LIKE and NOT IN"),
        ("EXISTS 'subject'", 8, "expected a value"),
        ("EXISTS LENGTH('a')", 14, "expected an operator"),
        ("data_x = 1", 1, "letters and digits only"),
        ("f1('a')", 1, "letters and underscores"),
        ("+ subject", 1, "plus sign"),
        ("2147483648", 1, "integers go from"),
        ("-2147483649", 2, "integers go from"),
        ("9" * 5000, 1, "integers go from"),
        ("LENGTH('a',)", 12, "expected a value"),
        ("TRUE TRUE", 6, "expected an operator"),
    ],
)
def test_a_wrong_expression_is_refused_by_its_place(text: str, place: int | None, mend: str) -> None:
    with pytest.raises(Reject, match=mend) as refused:
        compile(text, "filters[0].cesql")
    (fault,) = refused.value.faults
    assert fault.field == "filters[0].cesql" + (f", character {place}" if place else "")
    assert len(str(fault)) < 300


@pytest.mark.parametrize("opening", ["(", "NOT ", "- ", "LENGTH(", "1 IN (", "1 + (", "TRUE AND NOT (1 = -("])
def test_what_nests_too_deep_is_refused_and_what_is_allowed_is_evaluated(opening: str) -> None:
    for depth in (MAX_DEPTH + 1, 700):
        with pytest.raises(Reject, match="nest at most"):
            compile(opening * depth + "1" + ")" * (depth * opening.count("(")))
    depth = MAX_DEPTH // (4 if "AND NOT" in opening else 1)
    text = opening * depth + "1" + ")" * (depth * opening.count("("))
    _, error = compile(text).evaluate(EVENT)
    assert error is None or error.kind == "cast"


@pytest.mark.parametrize(
    "link",
    [" AND TRUE", " OR FALSE", " XOR FALSE", " = TRUE", " IN (TRUE)", " NOT IN (FALSE)", " LIKE 'true'"],
)
def test_a_long_chain_needs_no_deep_stack(link: str) -> None:
    text = "TRUE" + link * ((MAX_LENGTH - 4) // len(link))
    assert value(text) == (True, None)
    assert value("(" * 40 + text[: MAX_LENGTH - 100].rsplit(link, 1)[0] + ")" * 40) == (True, None)


def test_a_huge_expression_is_refused_unread() -> None:
    started = time.perf_counter()
    with pytest.raises(Reject, match=f"at most {MAX_LENGTH}"):
        compile("(" * 50_000_000)
    assert time.perf_counter() - started < 1
    with pytest.raises(Reject, match=f"at most {MAX_PATTERN}"):
        compile(f"subject LIKE '{'%' * (MAX_PATTERN + 1)}'")


def test_a_short_expression_cannot_multiply_an_events_text_without_end() -> None:
    text = "CONCAT(" + ", ".join(["subject"] * 1000) + ")"
    assert value(text, subject="x" * 65536) == ("", "functionEvaluation")
    assert len(str(value(text, subject="x" * (MAX_TEXT // 1000))[0])) == MAX_TEXT // 1000 * 1000


def test_an_events_digits_without_end_are_no_integer_and_cost_nothing() -> None:
    started = time.perf_counter()
    assert value("hops > 1", hops="9" * 65536) == (False, "cast")
    assert value("hops = 1", hops="0" * 65536 + "1") == (True, None)
    assert time.perf_counter() - started < 1


def test_attributes_of_other_types_are_their_text() -> None:
    assert value("x = '1.5'", x=1.5) == (True, None)
    assert value("x", x=2**40) == (str(2**40), None)
    assert value("EXISTS x", x=None) == (True, None)


def test_what_every_event_has_exists() -> None:
    for name in ("id", "source", "specversion", "type"):
        assert compile(f"EXISTS {name}").evaluate({}) == (True, None)


def test_an_error_keeps_nothing_of_the_evaluation_alive() -> None:
    _, error = compile("missing = 1").evaluate(EVENT)
    assert error is not None
    assert error.__traceback__ is None


def test_the_right_side_is_left_alone_once_the_left_decides() -> None:
    assert value("FALSE AND missing") == (False, None)
    assert value("TRUE OR missing") == (True, None)
    assert value("TRUE XOR missing") == (False, "missingAttribute")


letters = st.text("ab.\\%_\n🌎", max_size=12)


@given(letters, letters)
def test_like_agrees_with_a_slow_reading_of_its_pattern(pattern: str, text: str) -> None:
    parts = re.findall(r"\\[%_]|.", pattern, re.DOTALL)
    regex = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
    assert matcher(pattern)(text) is (re.fullmatch(regex, text, re.DOTALL) is not None)


@given(st.text("ab*?", max_size=10), st.text("ab", max_size=10))
def test_like_agrees_with_the_shells_patterns(glob: str, text: str) -> None:
    assert matcher(glob.replace("*", "%").replace("?", "_"))(text) is bool(re.match(translate(glob), text))


@pytest.mark.parametrize("pattern", ["%a" * 500 + "%b", "%" * 1000 + "b", "%" + "a_" * 500 + "b", "a%" * 511])
def test_no_pattern_runs_away(pattern: str) -> None:
    matches, started = matcher(pattern), time.perf_counter()
    matches("a" * 65536)
    assert time.perf_counter() - started < 3


# Fuzz: sound expressions, what becomes of them when they are cut and glued, and plain noise.

leaves = st.sampled_from(
    [
        "TRUE",
        "false",
        "0",
        "-1",
        "2147483647",
        "'pump'",
        '"5"',
        "''",
        "subject",
        "hops",
        "late",
        "missing",
        "id",
    ]
)
SOUND = ["NOT {}", "-{}", "({})", "{} LIKE 'p%_'", "{} NOT LIKE '\\%'", "EXISTS hops = {}", "LENGTH({})"]
SOUND += ["UPPER({})", "INT({})", "BOOL({})", "ABS({})", "SUBSTRING({0}, {0})", "LEFT({0}, 2)", "TRIM({})"]
PAIRS = [f"{{}} {symbol} {{}}" for symbol in (*BINARY, "AND", "OR", "XOR")]
PAIRS += ["{} IN ({}, 'x')", "{} NOT IN (5, {})", "CONCAT({}, {})", "CONCAT_WS({}, {}, 'z')", "RIGHT({}, {})"]
sound = st.recursive(
    leaves,
    lambda inner: (
        st.builds(str.format, st.sampled_from(SOUND), inner)
        | st.builds(str.format, st.sampled_from(PAIRS), inner, inner)
    ),
    max_leaves=12,
)


def survives(text: str) -> bool:
    """Whether it parses; whatever it is, it is refused with a mend or evaluates to a value."""
    try:
        expression = compile(text)
    except Reject as rejected:
        assert all(fault.mend and fault.field.startswith("cesql") for fault in rejected.faults)  # noqa: PT017
        return False
    found, error = expression.evaluate(EVENT)
    assert type(found) in (str, int, bool)
    assert type(found) is not int or -(2**31) <= found < 2**31
    assert error is None or error.kind in KINDS
    assert expression.type in (None, type(found))
    return True


@given(sound)
def test_every_sound_expression_has_a_value(text: str) -> None:
    assert survives(text)


@given(st.text(max_size=200) | st.text("()'\"\\ =<>!+-*/%,_aT1\n", max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    survives(text)


@given(sound, sound, st.data())
def test_no_mutation_breaks_the_parser(one: str, other: str, data: Any) -> None:
    cut = data.draw(st.integers(0, len(one)))
    survives(one[:cut] + other[data.draw(st.integers(0, len(other))) :])
    survives(one[:cut] + data.draw(st.characters()) + one[cut + 1 :])


@given(sound, sound)
def test_and_passes_when_both_pass(one: str, other: str) -> None:
    left, right = compile(f"BOOL({one})").evaluate(EVENT), compile(f"BOOL({other})").evaluate(EVENT)
    both = compile(f"BOOL({one}) AND BOOL({other})").evaluate(EVENT)
    assert (both == (True, None)) is (left == (True, None) and right == (True, None))


def noise(chance: random.Random) -> str:
    """A bad input, seldom a good one: words of the language, noise, or a long run of one piece."""
    words = [
        "(",
        ")",
        "'",
        '"',
        "\\",
        "NOT",
        "AND",
        "IN",
        "LIKE",
        "EXISTS",
        "-",
        "+",
        "%",
        ",",
        "=",
        "<>",
        "é",
    ]
    words += [
        "'p%'",
        "subject",
        "hops",
        "9" * 12,
        "0",
        "\x00",
        "x_y",
        *FUNCTIONS,
        "'it''s'",
        "TRUE",
        "\ud800",
    ]
    match chance.randrange(4):
        case 0:
            return chance.choice(words) * chance.randrange(1, 400)
        case 1:
            return "".join(map(chr, chance.choices(range(1, 1000), k=chance.randrange(60))))
        case _:
            return chance.choice(["", " "]).join(chance.choices(words, k=chance.randrange(1, 40)))


@pytest.mark.slow
def test_a_hundred_thousand_bad_inputs_break_nothing_and_leave_nothing() -> None:
    chance = random.Random(4)

    def feed(count: int) -> int:
        good = sum(survives(noise(chance)) for _ in range(count))
        gc.collect()
        return good

    good = feed(20_000)  # fills what is cached for good, such as `re`'s patterns
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        good += feed(80_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 1000 < good < 50_000
    assert grown < 256 * 1024


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_noise_is_survived_too(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        survives(noise(chance))
