"""Examples that are quick enough to run as they are."""

import importlib.util
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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

        def end_headers(self): ...

        wfile = type("File", (), {"write": staticmethod(answers.append)})

    for query in ("owner.to_csv('x')", "ownr == 'u'"):
        Request(row=[0.0] * 64, filter=query).do_POST()
    assert answers[::2] == [400, 400]
    assert b"no attributes" in answers[1]
    assert b"no column 'ownr'" in answers[3]


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
