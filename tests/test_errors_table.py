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
    ("_warnings.py", "category", GAP): "the helper through which warnings go",
    (
        "persistence/_format.py",
        "FormatError",
        f"{GAP} {GAP}",
    ): "the path before another message",
    ("persistence/_tree.py", "FormatError", f"{GAP}: {GAP}"): "likewise",
    ("persistence/_reader.py", "NotGivenError", GAP): "becomes a ValueError",
    (
        "persistence/_tables.py",
        "TypeError",
        f"{GAP}: {GAP}",
    ): "a column before another message",
    (
        "persistence/_sklearn_parts.py",
        "ValueError",
        f"it holds {GAP}, which skops does not trust. Keep such a step outside, or "
        "use joblib.",
    ): "becomes a TypeError",
} | {
    (f"persistence/{path}", category, message): "becomes a FormatError"
    for path, category, message in [
        ("_format.py", "ValueError", "a key occurs twice"),
        ("_sklearn_parts.py", "ValueError", "a Pipeline has no steps."),
        ("_sklearn_parts.py", "TypeError", "a FrozenEstimator holds no estimator."),
    ]
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


@cache
def functions(path):
    """Return the functions and methods of a module by name."""
    nodes = ast.walk(tree(path))
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}


@cache
def constants(path):
    """Return what the names of a module stand for, the imported ones included."""
    found = {}
    for node in tree(path).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = value
            case ast.ImportFrom(module=str(module), names=names):
                file = ROOT.parent / f"{module.replace('.', '/')}.py"
                there = constants(file) if file.exists() else {}
                known = [alias for alias in names if alias.name in there]
                found |= {one.asname or one.name: there[one.name] for one in known}
    return found


def texts(path, node, names):
    """Return the texts that an expression can be, with a gap for what is not known.

    `names` are those of the functions around it, with all that they are assigned to.
    """
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Constant(value=None):
            return []
        case ast.JoinedStr(values=parts):
            return joined(path, parts, names)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return joined(path, [left, right], names)
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            return texts(path, value, names)
        case ast.IfExp(body=body, orelse=other):
            return texts(path, body, names) + texts(path, other, names)
        case ast.Name(id=name) if name in names:
            others = {key: values for key, values in names.items() if key != name}
            found = [texts(path, value, others) for value in names[name]]
            return list(itertools.chain(*found)) or [GAP]
        case ast.Name(id=name) if name in constants(path):
            return texts(path, constants(path)[name], {})
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
            results = returned(functions(path)[name]) if name in functions(path) else []
            found = [texts(path, value, {}) for value in results]
            return list(itertools.chain(*found)) or [GAP]
    return [GAP]


def joined(path, parts, names):
    choices = itertools.product(*(texts(path, part, names) for part in parts))
    return list(dict.fromkeys("".join(choice) for choice in choices))


def returned(function):
    nodes = ast.walk(function)
    return [node.value for node in nodes if isinstance(node, ast.Return) and node.value]


def sites_in(path):
    for node, names in statements(tree(path), {}):
        match node:
            case ast.Raise(exc=ast.Call() as call):
                yield from raised(path, call, names, node.lineno)
            case ast.Raise(exc=ast.expr()):
                raise AssertionError(f"{path}:{node.lineno} has no message")
            case ast.Call(func=ast.Name(id="warn") | ast.Attribute(attr="warn")):
                yield from warned(path, node, names)


def raised(path, call, names, line):
    name = name_of(call.func)
    if name not in functions(path):
        messages = texts(path, call.args[0], names) if call.args else [""]
        for message in messages:
            yield site(path, line, name, message)
        return
    # A function builds the error: read it with what it is given here.
    helper = functions(path)[name]
    given = [[ast.Constant(t) for t in texts(path, a, names)] for a in call.args]
    bound = dict(zip(parameters(helper), given, strict=True))
    for built in returned(helper):
        yield from raised(path, built, bound, line)


def warned(path, call, names):
    category = name_of(call.args[1]) if len(call.args) > 1 else "UserWarning"
    for message in texts(path, call.args[0], names):
        yield site(path, call.lineno, category, message)


def site(path, line, category, message):
    return Site(path.relative_to(ROOT).as_posix(), line, category, squeezed(message))


def statements(node, names):
    """Yield every node below one, with what the names around it are assigned to."""
    for child in ast.iter_child_nodes(node):
        inner = names
        if isinstance(child, ast.FunctionDef):
            inner = {**names, **{name: [] for name in parameters(child)}}
            for part in ast.walk(child):
                match part:
                    case ast.Assign(targets=[ast.Name(id=name)], value=value):
                        inner[name] = [*inner.get(name, []), value]
        yield child, inner
        yield from statements(child, inner)


def parameters(function):
    given = function.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def name_of(node):
    return node.attr if isinstance(node, ast.Attribute) else node.id


def key(site):
    return site.path, site.category, site.message


def squeezed(text):
    return re.sub(f"{GAP}+", GAP, " ".join(text.split()))


@cache
def sites():
    paths = sorted(ROOT.rglob("*.py"))
    return [site for path in paths for site in sites_in(path)]


# What the page says


@cache
def rows():
    _, *parts = re.split(
        r"^(.+)\n-{4,}\n", PAGE.read_text(encoding="utf-8"), flags=re.M
    )
    return [
        Row(section, literals(messages), literals(categories), squeezed(remedy))
        for section, text in zip(parts[::2], parts[1::2], strict=True)
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


# What scikit-learn says


def said(call):
    """Return the class and the message of the error or warning that a call leads to."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except Exception as error:
            return type(error).__name__, squeezed(str(error))
    return caught[0].category.__name__, squeezed(str(caught[0].message))


def restored_from_the_past():
    state = StandardScaler().fit([[0.0], [1.0]]).__getstate__()
    StandardScaler().__setstate__({**state, "_sklearn_version": "0.1"})


def test_rows_of_scikit_learn_are_what_it_says():
    X = np.random.default_rng(0).normal(size=(9, 3))
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    embedder = latentsk.PCAEmbedder(1).fit(X)
    named = latentsk.PCAEmbedder(1).fit(frame)
    calls = [
        lambda: embedder.transform([[np.nan, 0.0, 1.0]]),
        lambda: embedder.transform([[np.inf, 0.0, 1.0]]),
        lambda: embedder.transform([["x", 0.0, 1.0]]),
        lambda: embedder.transform(X[:, :2]),
        lambda: embedder.transform(X[0]),
        lambda: embedder.fit(X[:1]),
        lambda: latentsk.LatentIndex().fit(csr_matrix(X)),
        lambda: embedder.fit(X * 1j),
        lambda: named.transform(frame[["c", "b", "a"]]),
        lambda: named.transform(X),
        lambda: latentsk.PCAEmbedder().transform(X),
        lambda: latentsk.save(latentsk.PCAEmbedder, "model.latentsk"),
        lambda: latentsk.PCAEmbedder(score_method="x").fit(X),
        lambda: embedder.set_params(components=2),
        restored_from_the_past,
    ]
    foreign = [row for row in rows() if row.section == FOREIGN]
    found = [Site("", 0, *said(call)) for call in calls]
    without = [site for site in found if not any(matches(row, site) for row in foreign)]
    dead = [row for row in foreign if not any(matches(row, site) for site in found)]
    assert not without
    assert not dead
