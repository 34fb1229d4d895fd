"""The check of built pages finds each kind of fault, and nothing in sound pages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "check_pages.py"
SOUND = (
    "<h1>Title</h1><h2 id='part'>Part</h2><img src='dot.png' alt='a dot'>"
    "<a href='#part'>there</a><a href='other.html#end'>on</a>"
    "<a href='https://example.org/x'>out</a>"
)


def check(folder, content, words=None):
    """Write two pages and an index of words, and run the check on them."""
    text = SCRIPT.read_text(encoding="utf-8")
    wanted = re.findall(r'^    "([a-z ]+)",$', text, re.MULTILINE)
    entries = {word: [] for word in (wanted if words is None else words)}
    index = f"Search.setIndex({json.dumps({'indexentries': entries})})"
    (folder / "searchindex.js").write_text(index, encoding="utf-8")
    (folder / "dot.png").write_bytes(b"")
    (folder / "other.html").write_text("<h1 id='end'>Other</h1>", encoding="utf-8")
    (folder / "page.html").write_text(content, encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_sound_pages_pass(tmp_path):
    done = check(tmp_path, SOUND)
    assert done.stdout == "2 pages, 0 faults\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("alt='a dot'", "alt=''", "dot.png has no alternative text"),
        ("alt='a dot'", "", "dot.png has no alternative text"),
        ("h2", "h3", "a heading of level 3 follows one of level 1"),
        ("<h1>Title</h1>", "", "a heading of level 2 follows one of level 0"),
        ("other.html", "missing.html", "missing.html#end leads nowhere"),
        ("dot.png", "dash.png", "dash.png leads nowhere"),
        ("#end", "#start", "other.html#start leads to no place of that page"),
        ("href='#part'", "href='#whole'", "#whole leads to no place of that page"),
    ],
)
def test_each_fault_is_named(tmp_path, old, new, fault):
    done = check(tmp_path, SOUND.replace(old, new))
    assert f"page.html: {fault}" in done.stdout.splitlines()
    assert done.returncode == 1


def test_words_that_find_nothing_are_named(tmp_path):
    done = check(tmp_path, SOUND, words=["anomaly"])
    assert "the search has no entry 'drift'" in done.stdout.splitlines()
    assert done.returncode == 1


@pytest.mark.parametrize(
    "script", sorted((ROOT / "examples" / "gallery").glob("*.py")), ids=lambda p: p.stem
)
def test_scripts_of_the_gallery_have_a_place_and_say_what_they_show(script):
    code = script.read_text(encoding="utf-8")
    assert re.search(r'^# sphinx_gallery_alt = ".+"$', code, re.MULTILINE)
    order = (ROOT / "docs" / "gallery_pages.py").read_text(encoding="utf-8")
    assert f'    "{script.stem}",\n' in order
