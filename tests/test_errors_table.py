"""The page of errors has a row for every message of the package, and no other rows."""

import ast
import itertools
import re
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.preprocessing import StandardScaler

import latentsk

ROOT = Path(latentsk.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "user_guide" / "errors.rst"

# The section whose rows are not messages of this package.
FOREIGN = "From scikit-learn"

# What stands for what varies in a message, in the page and here.
GAP = "…"

# A row of a list-table.
CELLS = re.compile(
    r"^   \* - (.*?)\n     - (.*?)\n     - (.*?)(?=\n   \* - |\n\n\S|\Z)",
    re.MULTILINE | re.DOTALL,
)

# Rows with fewer characters besides the gaps would match too much.
LEAST_LETTERS = 12

# Sites that need no row: file, class and message, with the reason.
EXCEPTIONS = {
    ("_warnings.py", "UserWarning", GAP): "the helper through which warnings go",
    ("_format.py", "FormatError", f"{GAP} {GAP}"): "the path before another message",
    ("persistence.py", "FormatError", f"{GAP}: {GAP}"): "likewise",
    ("index/_storage.py", "FormatError", f"{GAP}: {GAP}"): "likewise",
    ("_tables.py", "TypeError", f"{GAP}: {GAP}"): "a column before another message",
}


class Site(NamedTuple):
    """A place in the package that raises an error or warns."""

    path: str
    line: int
    category: str
    message: str


class Row(NamedTuple):
    """A row of a table: the messages and classes that it is about."""

    section: str
    messages: tuple[str, ...]
    categories: tuple[str, ...]
    remedy: str


# What the package says


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(module):
    """Return the functions and methods of a module by name."""
    nodes = ast.walk(module)
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}


def constants(module):
    """Return what the names of a module are assigned to, imports included."""
    found = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = [node.value]
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("laten"):
            file = ROOT.parent / (node.module.replace(".", "/") + ".py")
            there = constants(tree(file)) if file.exists() else {}
            for alias in node.names:
                if alias.name in there:
                    found[alias.asname or alias.name] = there[alias.name]
    return found


class Reader:
    """Reads messages where they are written, with a gap for what is not known there.

    A message has several readings where it is one of several texts.
    """

    def __init__(self, path):
        self.path = path
        self.module = tree(path)
        self.functions = functions(self.module)
        self.constants = constants(self.module)

    def texts(self, node, names):
        """Return the readings of an expression; `names` are those of a function."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.Constant(value=None):
                return []
            case ast.JoinedStr(values=parts):
                return self.joined(parts, names)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.joined([left, right], names)
            case ast.FormattedValue(value=value):
                return self.texts(value, names)
            case ast.IfExp(body=body, orelse=other):
                return self.texts(body, names) + self.texts(other, names)
            case ast.Name(id=name) if name in names:
                known = {key: value for key, value in names.items() if key != name}
                readings = [self.texts(value, known) for value in names[name]]
                return list(itertools.chain(*readings)) or [GAP]
            case ast.Name(id=name) if name in self.constants:
                return self.texts(self.constants[name][0], {})
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                return self.returned(name)
        return [GAP]

    def joined(self, parts, names):
        readings = [self.texts(part, names) for part in parts]
        return ["".join(choice) for choice in itertools.product(*readings)]

    def returned(self, name):
        """Return what a method of the module returns, if that is texts."""
        if name not in self.functions:
            return [GAP]
        values = [value for value in returns(self.functions[name]) if value]
        found = [text for value in values for text in self.texts(value, {})]
        return found or [GAP]

    def sites(self):
        for node, names in statements(self.module, {}):
            match node:
                case ast.Raise(exc=ast.Call() as call):
                    yield from self.raised(call, names, node.lineno)
                case ast.Raise(exc=ast.expr()):
                    raise AssertionError(f"{self.path}:{node.lineno} has no message")
                case ast.Call(func=ast.Name(id="warn"), args=args):
                    yield from self.warned(args, names, node.lineno)
                case ast.Call(func=ast.Attribute(attr="warn"), args=args):
                    yield from self.warned(args, names, node.lineno)

    def raised(self, call, names, line):
        name = name_of(call.func)
        if name in self.functions:
            # A helper builds the error: read it with what it is given here.
            helper = self.functions[name]
            given = [argument.arg for argument in helper.args.args]
            texts = [[ast.Constant(text) for text in self.texts(argument, names)]
                     for argument in call.args]
            bound = dict(zip(given, texts, strict=True))
            for built in returns(helper):
                yield from self.raised(built, bound, line)
        else:
            messages = self.texts(call.args[0], names) if call.args else [""]
            for message in messages:
                yield self.site(line, name, message)

    def warned(self, args, names, line):
        category = name_of(args[1]) if len(args) > 1 else "UserWarning"
        if category == "category":
            category = "UserWarning"
        for message in self.texts(args[0], names):
            yield self.site(line, category, message)

    def site(self, line, category, message):
        path = self.path.relative_to(ROOT).as_posix()
        return Site(path, line, category, squeezed(message))


def statements(node, names):
    """Yield every node below one, with what the names around it are assigned to."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            inner = {argument.arg: [] for argument in all_arguments(child)}
            for part in ast.walk(child):
                if isinstance(part, ast.Assign) and isinstance(
                    part.targets[0], ast.Name
                ):
                    inner.setdefault(part.targets[0].id, []).append(part.value)
            yield from statements(child, {**names, **inner})
        else:
            yield child, names
            yield from statements(child, names)


def all_arguments(function):
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def returns(function):
    nodes = ast.walk(function)
    return [node.value for node in nodes if isinstance(node, ast.Return)]


def name_of(node):
    return node.attr if isinstance(node, ast.Attribute) else node.id


def key(site):
    return site.path, site.category, site.message


def squeezed(text):
    return " ".join(text.split())


@cache
def sites():
    paths = sorted(ROOT.rglob("*.py"))
    return [site for path in paths for site in Reader(path).sites()]


# What the page says


@cache
def rows():
    _, *parts = re.split(r"^(.+)\n-{4,}\n", PAGE.read_text(encoding="utf-8"), flags=re.M)
    return [
        Row(section, literals(messages), literals(categories), squeezed(remedy))
        for section, text in itertools.batched(parts, 2)
        for messages, categories, remedy in CELLS.findall(text)
        if literals(messages)
    ]


def literals(cell):
    return tuple(map(squeezed, re.findall(r"``(.+?)``", cell, re.DOTALL)))


def pattern(message):
    return re.compile(".*".join(map(re.escape, message.split(GAP))))


def matches(row, site):
    return site.category in row.categories and any(
        pattern(message).fullmatch(site.message) for message in row.messages
    )


def own_rows():
    return [row for row in rows() if row.section != FOREIGN]


def test_every_message_has_a_row():
    without = [
        f"{site.path}:{site.line} {site.category}: {site.message}"
        for site in sites()
        if key(site) not in EXCEPTIONS
        and not any(matches(row, site) for row in own_rows())
    ]
    assert not without, "\n".join(without)


def test_every_message_of_a_row_is_one_of_the_package():
    dead = [
        message
        for row in own_rows()
        for message in row.messages
        if not any(matches(row._replace(messages=(message,)), site) for site in sites())
    ]
    assert not dead, "\n".join(dead)


def test_every_class_of_a_row_has_such_a_message():
    dead = [
        f"{category}: {row.messages[0]}"
        for row in own_rows()
        for category in row.categories
        if not any(matches(row._replace(categories=(category,)), s) for s in sites())
    ]
    assert not dead, "\n".join(dead)


def test_rows_say_enough_to_be_found():
    for row in rows():
        assert row.categories, row
        assert len(row.remedy) > LEAST_LETTERS, row
        for message in row.messages:
            assert len(message.replace(GAP, "")) >= LEAST_LETTERS, row


def test_no_message_has_two_rows():
    messages = [message for row in rows() for message in row.messages]
    assert len(set(messages)) == len(messages)


def test_exceptions_are_sites():
    assert not EXCEPTIONS.keys() - {key(site) for site in sites()}


def test_messages_are_read_from_the_source():
    found = {(site.category, site.message) for site in sites()}
    assert ("ValueError", "memory_budget must be positive.") in found
    assert ("ValueError", "filter leaves no row.") in found  # one of two texts
    assert ("FormatError", "is altered: array … is not described.") in found  # helper
    reason = "every component is kept, so that nothing is left to reconstruct wrongly."
    assert any(reason in message for _, message in found)  # a constant, returned
    assert any(category == "PosteriorCollapseWarning" for category, _ in found)


