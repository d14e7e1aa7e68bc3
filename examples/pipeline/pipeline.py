"""The parts of a small pipeline; Python's standard library is all they need.

`database FILE` answers POSTed [statement, values…] with the rows; `migrate` makes its table; `web` takes numbers in
(POST /) and shows them (GET /); `worker` squares them; `healthy URL` ends with 0 if the URL answers.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

ME = os.environ["HOSTNAME"]
TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, taken_by TEXT NOT NULL, square INTEGER, done_by TEXT
)"""


def serve(answer: Callable[[str], str]) -> None:
    """Answer every request with what `answer` makes of its body; /health without asking it."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                body, status = "ok" if self.path == "/health" else answer(self.read()), 200
            except (ValueError, sqlite3.Error) as error:
                body, status = f"{error}\n", 400
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def read(self) -> str:
            return self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("", 8000), Answer).serve_forever()


def database(file: str) -> None:
    def rows(asked: str) -> str:
        statement, *values = json.loads(asked)
        with sqlite3.connect(file) as connection:
            return json.dumps(connection.execute(statement, values).fetchall())

    print(f"{file} is open", flush=True)
    serve(rows)


def sql(statement: str, *values: object) -> list:
    with urlopen("http://database:8000", json.dumps([statement, *values]).encode()) as answer:
        return json.load(answer)


def migrate() -> None:
    sql(TABLE)
    print(f"the table is there, with {sql('SELECT count(*) FROM jobs')[0][0]} jobs")


def web() -> None:
    def answer(body: str) -> str:
        if not body:
            return "".join(line + "\n" for line in [f"this is web {ME}", *shown()])
        [[job]] = sql("INSERT INTO jobs (number, taken_by) VALUES (?, ?) RETURNING id", int(body), ME)
        return f"job {job} taken by web {ME}\n"

    def shown() -> list[str]:
        jobs = sql("SELECT id, number, taken_by, square, done_by FROM jobs ORDER BY id")
        return [
            f"job {job}: {number} squared is {square} (web {web}, worker {worker})"
            if worker
            else f"job {job}: {number} waits"
            for job, number, web, square, worker in jobs
        ]

    serve(answer)


def worker() -> None:
    while True:
        for job, number in sql("SELECT id, number FROM jobs WHERE done_by IS NULL ORDER BY id"):
            sql("UPDATE jobs SET square = ?, done_by = ? WHERE id = ?", number * number, ME, job)
            print(f"job {job}: {number} squared is {number * number}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["database", file]:
            database(file)
        case ["migrate"]:
            migrate()
        case ["web"]:
            web()
        case ["worker"]:
            worker()
        case ["healthy", url]:
            urlopen(url, timeout=5).close()
        case _:
            sys.exit(__doc__)
