"""Functions in statements, which each database spells in its own way."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from dropscribe.ledger.sql.dialect import Functions, spelt, sql
from dropscribe.ledger.sql.sqlite import functions

PLAIN: Functions = {"a": lambda *x: "<" + "|".join(x) + ">", "b": lambda x: f"[{x}]"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", "SELECT 1"),
        ("@a() x", "<> x"),
        ("x @b(y) z @b(w)", "x [y] z [w]"),
        ("@a(f(1, 2), @b(x), g(h(3)))", "<f(1, 2)|[x]|g(h(3))>"),
        ("@a('),@b(', y) '@ b'", "<'),@b('|y> '@ b'"),
    ],
)
def test_functions_are_spelt_with_their_arguments(text: str, expected: str) -> None:
    assert spelt(text, PLAIN) == expected


def test_a_function_without_its_end_is_refused() -> None:
    with pytest.raises(ValueError, match="without its end"):
        spelt("@a(x", PLAIN)


def test_a_statement_keeps_its_values_and_is_spelt_for_its_database() -> None:
    statement = sql("SELECT 1 WHERE :x IN @ids(:list)")
    compiled = statement.compile(dialect=sqlite.dialect())
    assert str(compiled) == "SELECT 1 WHERE ? IN (SELECT value FROM json_each(?))"
    assert isinstance(statement, sa.TextClause)
    assert spelt("@plain(x)", functions.FUNCTIONS) == "+x"
