"""What keeps the package small and readable, counted."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import latentsk

ROOT = Path(latentsk.__file__).parent
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(ROOT.rglob("*.py"))
}
MAX_LINES, MAX_LINES_OF_A_FILE = 32_000, 400
# Blank lines, comments and what ends or indents others.
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines_of_code(source):
    """Return how many lines hold code: no docstring, no comment, not blank."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False):
            text = node.body[0]
            lines.difference_update(range(text.lineno, text.end_lineno + 1))
    return len(lines)


def test_lines_are_counted():
    source = '''"""A module."""

# A comment.
def f(x):
    """Return a text.

    Of two lines.
    """
    return """a
b"""  # said
'''
    assert lines_of_code(source) == 3


def test_the_package_and_its_files_are_small():
    counts = {name: lines_of_code(source) for name, source in SOURCES.items()}
    assert {n: c for n, c in counts.items() if c > MAX_LINES_OF_A_FILE} == {}
    assert sum(counts.values()) <= MAX_LINES


# What there is less and less of: a pattern, the files that it is allowed in, those that
# it is looked for in, and how often it may occur elsewhere.
@pytest.mark.parametrize(
    ("pattern", "allowed", "folder", "most"),
    [
        (r"\bself: Any\b", "", "", 0),
        (r"\.__dict__|\b__dict__\b|\bvars\(self\)", "_state.py", "", 0),
        (r"(?i)(?<![^\W_])kl(?![^\W_])", "", "training/", 0),
    ],
    ids=["untyped self", "attributes in bulk", "KL in the engine"],
)
def test_what_is_not_done(pattern, allowed, folder, most):
    found = [
        f"{name}: {line.strip()}"
        for name, source in SOURCES.items()
        if name != allowed and name.startswith(folder)
        for line in source.splitlines()
        if re.search(pattern, line)
    ]
    assert len(found) <= most, "\n".join(found)
