"""Examples that are quick enough to run as they are, and those of the gallery."""

import importlib.util
import json
import runpy
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((FOLDER / "gallery").glob("*.py")), ids=lambda p: p.stem
)
def test_scripts_of_the_gallery_run(path):
    runpy.run_path(str(path), run_name="__main__")


def test_a_live_index_answers_many_clients(capsys):
    load("live_index").main([])
    said = capsys.readouterr().out
    assert "Each client found its own row, and no other: True" in said
    assert "Rows left: 1797" in said


def test_a_query_that_is_wrong_or_hostile_is_told_to_the_client():
    module = load("live_index")
    index = module.make_index()
    answers = []

    class Request(module.handler_of(index)):
        def __init__(self, **body):
            self.body = body

        def _body(self):
            return self.body

        def send_response(self, status):
            answers.append(status)

        def send_header(self, name, value): ...

        def end_headers(self): ...

        wfile = type("File", (), {"write": staticmethod(answers.append)})

    for query in ("owner.to_csv('x')", "ownr == 'u'"):
        Request(row=[0.0] * 64, filter=query).do_POST()
    assert answers[::2] == [400, 400]
    assert b"no attributes" in answers[1]
    assert b"no column 'ownr'" in answers[3]


def test_what_json_does_not_hold_is_answered_and_an_unknown_id_is_not_found():
    module = load("live_index")
    index = module.make_index()
    listed = pd.Series(pd.Timestamp("2026-01-31"), index.ids_, name="listed")
    index.update_metadata(listed.to_frame())
    server = module.ThreadingHTTPServer(("localhost", 0), module.handler_of(index))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def send(method, path, **body):
        url = f"http://localhost:{server.server_port}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.status, json.load(error)

    try:
        new = {"owner": "z", "digit": None, "listed": "2026-05-31"}
        assert send("PUT", "/rows/new", row=[0.0] * 64, metadata=new)[0] == 200
        status, found = send("POST", "/search", row=[0.0] * 64, n=1)
        assert (status, found[0]["id"], found[0]["digit"]) == (200, "new", None)
        assert found[0]["listed"].startswith("2026-05-31T00:00:00")
        missing = 404, {"error": "Unknown ids: 'gone'."}
        assert send("DELETE", "/rows/gone") == missing
        assert send("POST", "/search")[0] == 400
        new["listed"] = "soon"
        status, answer = send("PUT", "/rows/newer", row=[0.0] * 64, metadata=new)
        assert status == 400
        assert "'listed'" in answer["error"]
    finally:
        server.shutdown()
        server.server_close()


def test_the_direction_that_a_plane_drops_is_its_noise(capsys):
    noisy, denoised = load("denoising").plane()
    said = capsys.readouterr().out
    assert said.count("[ 0.71") == 2
    # What is taken away is the difference of X0 and X2, as far as PCA knows.
    dropped = (noisy[:, 0] - noisy[:, 2]) / 2
    expected = noisy - dropped[:, None] * [1, 0, -1]
    np.testing.assert_allclose(denoised, expected, atol=0.05)


def test_digits_that_were_never_seen_are_none_of_these(capsys, monkeypatch, tmp_path):
    picture = tmp_path / "picture.png"
    monkeypatch.setattr("sys.argv", ["none_of_these.py", "--output", str(picture)])
    load("none_of_these").main()
    said = capsys.readouterr().out
    assert "digits never seen, called unknown: 100.0%" in said
    assert picture.stat().st_size > 10_000
