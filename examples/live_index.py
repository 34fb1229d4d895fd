r"""A live index behind a small web service: searches and changes by many threads.

    .venv/bin/python examples/live_index.py            # a trial with eight clients
    .venv/bin/python examples/live_index.py --port 8000  # serve until it is interrupted

    curl -X PUT localhost:8000/rows/a -d '{"row": [...], "metadata": {"owner": "u"}}'
    curl -X POST localhost:8000/search -d '{"row": [...], "filter": "owner == \"u\""}'
    curl -X DELETE localhost:8000/rows/a

Handwritten digits (1,797 images of 8 x 8 pixels, shipped with scikit-learn). A query
comes from outside; it is read by the index's own grammar, which calls nothing.
"""

import argparse
import json
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from latentsk import LatentIndex, PCAEmbedder

OWNERS = np.array(["u", "v", "w"])


def make_index() -> LatentIndex:
    """Return an index of digits, each of which belongs to somebody."""
    X, y = load_digits(return_X_y=True)
    ids = [f"image {i}" for i in range(len(X))]
    metadata = pd.DataFrame({"owner": OWNERS[np.arange(len(X)) % 3], "digit": y})
    return LatentIndex(PCAEmbedder(16)).fit(X, ids=ids, metadata=metadata)


def handler_of(index: LatentIndex) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests. The index locks itself; no lock is needed here."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(self._search)

        def do_PUT(self) -> None:
            self._answer(self._put)

        def do_DELETE(self) -> None:
            self._answer(self._remove)

        def _search(self) -> str:
            asked = self._body()
            found = index.search(
                [asked.get("row")],
                asked.get("n", 5),
                filter=asked.get("filter"),
                fewer="allow",  # rows may go at any moment
                return_metadata=True,
            )
            return found.to_json(orient="records", date_format="iso")

        def _put(self) -> str:
            given = self._body()
            metadata = pd.DataFrame([given.get("metadata")])
            index.upsert([given.get("row")], [self._id], metadata)
            return json.dumps({"id": self._id})

        def _remove(self) -> str:
            return json.dumps({"left": len(index.remove([self._id]))})

        @property
        def _id(self) -> str:
            return urllib.request.unquote(self.path.removeprefix("/rows/"))

        def _body(self) -> dict:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, compute) -> None:
            try:
                status, body = 200, compute()
            except KeyError as error:  # an id that there is not
                status, body = 404, json.dumps({"error": str(error.args[0])})
            except Exception as error:  # what was sent is wrong
                status, body = 400, json.dumps({"error": str(error)})
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_) -> None:
            """Write no line for each request."""

    return Handler


def try_out(url: str) -> list[list[dict]]:
    """Return what eight clients find that search and change the index together."""
    X, y = load_digits(return_X_y=True)

    def send(method: str, path: str, **body) -> list[dict]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{url}{path}", data, method=method)
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def client(i: int) -> list[dict]:
        row = X[i].tolist()
        metadata = {"owner": f"client {i}", "digit": int(y[i])}
        send("PUT", f"/rows/new%20{i}", row=row, metadata=metadata)
        found = send("POST", "/search", row=row, n=3, filter=f"owner == 'client {i}'")
        send("DELETE", f"/rows/new%20{i}")
        return found

    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(client, range(24)))


def main(arguments: list[str] | None = None) -> None:
    """Serve an index, and print what clients find."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="serve until it is interrupted")
    options = parser.parse_args(arguments)
    index = make_index()
    server = ThreadingHTTPServer(("localhost", options.port or 0), handler_of(index))
    if options.port is not None:
        server.serve_forever()
    threading.Thread(target=server.serve_forever).start()
    try:
        found = try_out(f"http://localhost:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    print(pd.DataFrame([row for rows in found for row in rows]).head(3))
    alone = all(len(rows) == 1 and rows[0]["distance"] < 1e-9 for rows in found)
    print("Each client found its own row, and no other:", alone)
    print("Rows left:", len(index))


if __name__ == "__main__":
    main()
