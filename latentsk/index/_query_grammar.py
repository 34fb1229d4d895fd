"""The grammar of query strings: from a string to conditions, without evaluating any.

A query is read by this file alone: neither pandas' `query` and `eval` nor Python's
`eval` sees it, and there is nothing in the grammar that could be called. It knows names
of columns, literals, comparisons, `in`, and `and`, `or`, `not`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

MAX_LENGTH = 100_000
MAX_COMPARISONS = 1_000
MAX_DEPTH = 30


@dataclass(frozen=True)
class Name:
    """A column, or the id."""

    name: str
    place: int


@dataclass(frozen=True)
class Literal:
    """A number, string, True, False or None."""

    value: Any
    place: int


@dataclass(frozen=True)
class Listed:
    """Literals in brackets."""

    values: tuple[Any, ...]
    place: int


@dataclass(frozen=True)
class Comparison:
    """Two sides and one of ``== != < <= > >= in``."""

    left: Name | Literal
    operator: str
    right: Name | Literal | Listed


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    condition: Condition


@dataclass(frozen=True)
class Joined:
    """Conditions that hold all ("and"), or of which one holds ("or")."""

    operator: str
    conditions: tuple[Condition, ...]


Condition: TypeAlias = Name | Literal | Comparison | Not | Joined
Operand: TypeAlias = Condition | Listed
Side = Name | Literal | Listed  # of a comparison

_TOKENS = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<number>\.?[0-9](?:[eE][+-]?[0-9_]+|[\w.])*)
    |(?P<name>[^\W\d]\w*)
    |(?P<quoted>`[^`\r\n]*`)
    |(?P<string>'(?:[^'\\\r\n]|\\.)*'|"(?:[^"\\\r\n]|\\.)*")
    |(?P<sign><=|>=|==|!=|<>|&&|\|\||\*\*|//|<<|>>|:=|->|[^\w\s])
    |(?P<other>.)""",
    re.VERBOSE,
)
_INTEGER = re.compile(r"0+|[1-9][0-9]*(_[0-9]+)*")
_DECIMAL = re.compile(
    r"([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|[0-9]+[eE][+-]?[0-9]{1,4}"
)
# As repr() writes them: users are told to put values into a query by it.
_ESCAPE = re.compile(
    r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|.)"
)
_ESCAPED = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r"}
_WORDS = {"True": True, "False": False, "None": None}
_COMPARED = {"==", "!=", "<", "<=", ">", ">="}
_LOGIC = {"&": "and", "|": "or"}
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}
_CALLABLE = (
    "For what the grammar does not know, pass a callable, such as "
    "filter=lambda metadata: metadata['year'] % 2 == 0"
)
_REMEDIES = {
    "=": "Equality is written ==",
    "<>": "Inequality is written !=",
    "!": "The opposite of a condition is written not",
    "&&": "Conditions are joined by and",
    "||": "Conditions are joined by or",
    "(": f"There are no calls. {_CALLABLE}",
    ".": f"There are no attributes and no methods. {_CALLABLE}",
    "[": f"There are no subscripts. {_CALLABLE}",
    "@": "Variables of Python are unknown here; write their value into the query, "
    "as f'year > {year!r}' does",
    "{": "Values are listed as in owner in ['u', 'v']",
    "#": "There are no comments",
}
_REMEDIES |= dict.fromkeys(
    ["+", "-", "*", "/", "%", "//", "**", "^", "<<", ">>"],
    f"There is no arithmetic. {_CALLABLE}",
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def parse(query: str) -> Condition:
    """Return the condition that a query states.

    Parameters
    ----------
    query : str
        At most 100,000 characters, 1,000 comparisons and 30 levels of brackets.

    Returns
    -------
    condition : Name, Literal, Comparison, Not or Joined

    Raises
    ------
    ValueError
        If the query is not in the grammar. The message names the piece.

    Examples
    --------
    >>> parse("2020 < year")
    Comparison(left=Literal(value=2020, place=0), operator='<',
               right=Name(name='year', place=7))
    """
    if len(query) > MAX_LENGTH:
        raise ValueError(
            f"A query may have {MAX_LENGTH} characters, got {len(query)}. Pass ids in "
            "a list, or a mask."
        )
    return _Parser(query).condition()


def refuse(query: str, problem: str, place: int, remedy: str = "") -> NoReturn:
    """Raise the error about a piece of a query."""
    shown = query if len(query) <= 100 else f"{query[:97]}..."
    remedy = f" {remedy}." if remedy else ""
    raise ValueError(
        f"The query {shown!r} is not valid: {problem} (character {place + 1}).{remedy}"
    )


def _tokens(query: str) -> Iterator[_Token]:
    for match in _TOKENS.finditer(query):
        kind, text = str(match.lastgroup), match.group()
        if kind == "name" and text in ("and", "or", "not", "in", "is"):
            kind = "sign"
        if kind != "space":
            yield _Token(kind, _LOGIC.get(text, text), match.start())
    yield _Token("end", "", len(query))


class _Parser:
    """Reads a query from left to right, one method for each level of the grammar."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.tokens = list(_tokens(query))
        self.at = 0
        self.depth = 0
        self.n_comparisons = 0

    # Tokens

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.token
        self.at += token.kind != "end"
        return token

    def takes(self, *texts: str) -> _Token | None:
        """Take the next token if it is one of these signs."""
        if self.token.kind == "sign" and self.token.text in texts:
            return self.take()
        return None

    def refuse(self, problem: str, place: int, remedy: str = "") -> NoReturn:
        refuse(self.query, problem, place, remedy)

    def unexpected(self, expected: str) -> NoReturn:
        token = self.token
        if token.kind == "end":
            self.refuse(f"it ends where {expected} is expected", token.place)
        if token.text in "'\"`" and token.kind in ("sign", "other"):
            self.refuse(f"a {token.text} is never closed", token.place)
        remedy = _REMEDIES.get(token.text, "") if token.kind == "sign" else ""
        problem = f"got {token.text[:40]!r} instead of {expected}"
        self.refuse(problem, token.place, remedy)

    # Conditions

    def condition(self) -> Condition:
        if self.token.kind == "end":
            raise ValueError("The query is empty. Pass filter=None for all rows.")
        found = self.as_condition(self.joined("or"))
        if self.token.kind != "end":
            self.unexpected("and, or, or the end")
        return found

    def as_condition(self, found: Operand) -> Condition:
        """Return what is a condition; a column may be one, a bare value is none."""
        is_value = isinstance(found, Literal) and not isinstance(found.value, bool)
        if isinstance(found, Listed) or is_value:
            place = getattr(found, "place", 0)
            remedy = "Compare a column with it, as in owner == 'u'"
            self.refuse(f"{_shown(found)} is no condition", place, remedy)
        return found

    def joined(self, operator: str) -> Operand:
        """Return conditions that are joined by `or`, or by `and`."""
        part = self.opposite if operator == "and" else lambda: self.joined("and")
        first = part()
        if not self.takes(operator):
            return first
        found = [self.as_condition(first), self.as_condition(part())]
        while self.takes(operator):
            found.append(self.as_condition(part()))
        return Joined(operator, tuple(found))

    def opposite(self) -> Operand:
        if not (token := self.takes("not")):
            return self.comparison()
        self.deeper(token)
        found = Not(self.as_condition(self.opposite()))
        self.depth -= 1
        return found

    def deeper(self, token: _Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            problem = f"it is nested deeper than {MAX_DEPTH} levels"
            self.refuse(problem, token.place, "Leave out brackets, or pass a mask")

    def comparison(self) -> Operand:
        """Return one comparison, or a chain of them: each must hold."""
        left, found = self.operand(), []
        while operator := self.compared():
            right = self.right_side(operator)
            found.append(self.compare(left, operator, right))
            left = right
        if not found:
            return left
        return found[0] if len(found) == 1 else Joined("and", tuple(found))

    def compared(self) -> str:
        """Take an operator of comparison, "" where there is none."""
        if token := self.takes(*_COMPARED, "in"):
            return token.text
        if self.takes("is"):
            return "is not" if self.takes("not") else "is"
        if self.token.text == "not" and self.tokens[self.at + 1].text == "in":
            self.at += 2
            return "not in"
        return ""

    def right_side(self, operator: str) -> Operand:
        if operator not in ("in", "not in"):
            return self.operand()
        token = self.takes("(", "[", "{")
        if token is None:
            problem = f"got {self.token.text[:40]!r} instead of a list of values"
            remedy = "Values are listed as in owner in ['u', 'v']"
            self.refuse(problem, self.token.place, remedy)
        return self.listed(token)

    def listed(self, opened: _Token) -> Listed:
        values: list[Any] = []
        closed = _CLOSED_BY[opened.text]
        commas = 0
        while not self.takes(closed):
            if len(values) > commas:
                if not self.takes(","):
                    self.unexpected(f"a comma or {closed!r}")
                commas += 1
                continue
            value = self.literal()
            if value is None:
                self.unexpected("a number or a string")
            values.append(value.value)
        if opened.text == "(" and len(values) == 1 and not commas:
            remedy = "Values are listed as in owner in ['u']"
            self.refuse("one value in brackets is no list", opened.place, remedy)
        return Listed(tuple(values), opened.place)

    def compare(self, left: Operand, operator: str, right: Operand) -> Condition:
        self.n_comparisons += 1
        if self.n_comparisons > MAX_COMPARISONS:
            self.refuse(
                f"it has more than {MAX_COMPARISONS} comparisons",
                self.token.place,
                "Write owner in [...], or pass a mask",
            )
        if not isinstance(left, Side) or not isinstance(right, Side):
            self.refuse(
                "a condition is compared with something",
                self.token.place,
                "Join conditions by and, or, not",
            )
        names = [side.name for side in (left, right) if isinstance(side, Name)]
        if not names or isinstance(left, Listed):
            problem = f"{_shown(left)} is compared with {_shown(right)}"
            self.refuse(problem, left.place, "One side must be a column")
        if len(names) == 2 and names[0] == names[1]:
            remedy = f"Rows without a value are {names[0]} == None"
            self.refuse("a column is compared with itself", left.place, remedy)
        return self.checked(left, operator, right)

    def checked(self, left: Any, operator: str, right: Any) -> Condition:
        """Return a comparison in which None and `is` mean something."""
        absent = [getattr(side, "value", 0) is None for side in (left, right)]
        if operator in ("is", "is not"):
            if not absent[1]:
                self.refuse("only None may follow is", right.place, "Write ==")
            operator = "==" if operator == "is" else "!="
        if any(absent) and operator not in ("==", "!="):
            place = (left if absent[0] else right).place
            self.refuse(f"None has no order for {operator}", place, "Write == or !=")
        if operator == "not in":
            return Not(Comparison(left, "in", right))
        if operator == "!=" and any(absent):
            return Not(Comparison(left, "==", right))
        return Comparison(left, operator, right)

    # Operands

    def operand(self) -> Operand:
        if token := self.takes("("):
            self.deeper(token)
            found = self.joined("or")
            if not self.takes(")"):
                self.unexpected("')'")
            self.depth -= 1
            return found
        if token := self.takes("~"):
            self.deeper(token)
            found = Not(self.as_condition(self.operand()))
            self.depth -= 1
            return found
        if (value := self.literal()) is not None:
            return value
        if self.token.kind not in ("name", "quoted"):
            self.unexpected("a column or a value")
        return self.name()

    def name(self) -> Name:
        token = self.take()
        if token.kind == "quoted":
            return Name(token.text[1:-1], token.place)
        if keyword.iskeyword(token.text):
            remedy = f"{_CALLABLE}. A column of that name is written `{token.text}`"
            self.refuse(f"{token.text!r} has no meaning", token.place, remedy)
        if self.token.kind == "string":
            remedy = "Strings are written in plain quotes"
            self.refuse(f"{token.text[:40]!r} precedes a quote", token.place, remedy)
        return Name(token.text, token.place)

    def literal(self) -> Literal | None:
        """Take a value; None where there is none."""
        token, place = self.token, self.token.place
        if token.kind == "string":
            return Literal(self.string(self.take()), place)
        if token.kind == "name" and token.text in _WORDS:
            return Literal(_WORDS[self.take().text], place)
        if token.text in ("+", "-") and self.tokens[self.at + 1].kind == "number":
            sign = -1 if self.take().text == "-" else 1
            return Literal(sign * self.number(self.take()), place)
        if token.kind == "number":
            return Literal(self.number(self.take()), place)
        return None

    def number(self, token: _Token) -> int | float:
        text = token.text
        is_whole = _INTEGER.fullmatch(text) is not None
        if not is_whole and not _DECIMAL.fullmatch(text):
            remedy = "Strings need quotes, numbers with zeros in front as well"
            self.refuse(f"{text[:40]!r} is no number", token.place, remedy)
        # Not by int() where it is long: its time grows with the square of the digits.
        value = int(text) if is_whole and len(text) <= 40 else float(text)
        if abs(value) >= (2**64 if is_whole else float("inf")):
            remedy = "Integers have 64 bits, others are float64"
            self.refuse(f"{text[:40]!r} is too large", token.place, remedy)
        return value

    def string(self, token: _Token) -> str:
        def unescaped(match: re.Match[str]) -> str:
            found = match.group(1)
            if len(found) > 1:
                return chr(int(found[1:], 16))
            if found not in _ESCAPED:
                self.refuse(
                    f"{match.group()!r} is no known character",
                    token.place,
                    r"A backslash is written \\",
                )
            return _ESCAPED[found]

        return _ESCAPE.sub(unescaped, token.text[1:-1])


def _shown(found: Any) -> str:
    """Return a side of a comparison as a message shows it."""
    if isinstance(found, Name):
        return f"{found.name!r:.40}"
    if isinstance(found, Listed):
        return "a list"
    return f"{found.value!r:.40}"
