"""README shows what the code really prints."""

import contextlib
import io
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = ROOT / "examples" / "demo.py"


def block(name):
    """Return the code block behind a marker."""
    return re.search(rf"<!-- {name} -->\n```\w*\n(.*?)```", README, re.DOTALL).group(1)


def test_the_example_prints_what_is_shown():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block("example"), "README.md", "exec"), {})
    assert printed.getvalue() == block("output")


def test_the_demo_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "demo.png"
    monkeypatch.setattr(sys, "argv", [str(DEMO), "--output", str(picture)])
    runpy.run_path(str(DEMO), run_name="__main__")
    printed = capsys.readouterr().out
    assert block("demo") in printed
    for line in ("fit, rows/s", "score, rows/s", "search, rows/s"):
        assert line in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("result", sorted((ROOT / "benchmarks/results").glob("*.json")))
def test_benchmark_tables_are_those_of_the_results(result):
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    table = json.loads(result.read_text(encoding="utf-8"))["table"]
    assert f"<!-- {result.stem} -->\n{table}\n<!-- /{result.stem} -->" in text
