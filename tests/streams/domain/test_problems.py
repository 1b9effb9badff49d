from streams.domain.problems import Problem, quoted


def test_a_problem_reads_as_its_field_and_what_to_do() -> None:
    assert str(Problem("rules[2].status", "unknown")) == "rules[2].status: unknown"


def test_what_is_quoted_stays_short_and_is_escaped() -> None:
    assert quoted("a\nb") == "'a\\nb'"
    assert quoted("x" * 60) == repr("x" * 60)
    assert quoted("x" * 61) == repr("x" * 60)
