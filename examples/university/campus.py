"""Members of a university who use the processor as hard as they may, and the registrar who measures what they get.

`member` answers http://NAME:8000/START/END: compute from START to END (seconds since 1970), tell how that went.
`measure NAME…` asks the members named, all for the same seconds, and draws the answers. `take MB` takes memory.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import URLError
from urllib.request import urlopen

SECONDS = float(os.environ.get("SECONDS", "3"))
WIDTH = 30  # of the bar of a whole core


class Member(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        start, end = map(float, self.path.strip("/").split("/"))
        time.sleep(max(0.0, start - time.time()))
        used = time.process_time()
        while time.time() < end:
            sum(range(1000))
        answer = {
            "used": time.process_time() - used,
            "cores": sorted(os.sched_getaffinity(0)),
            "memory": int(told("memory/memory.limit_in_bytes", "memory.max") or 0),
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


def told(*names: str) -> str:
    """What this container's own control group says, in the files of cgroup v1 or v2."""
    for name in names:
        with suppress(OSError), open(f"/sys/fs/cgroup/{name}") as file:
            return file.read().strip()
    return ""


def ask(name: str, start: float, end: float) -> dict:
    with urlopen(f"http://{name}:8000/{start}/{end}") as answer:
        return json.load(answer)


def await_member(name: str) -> None:
    """Until it answers; a minute at most."""
    end = time.time() + 60
    while True:
        try:
            ask(name, 0, 0)
            return
        except URLError:
            if time.time() > end:
                raise
            time.sleep(0.05)


def measure(names: list[str]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(await_member, names))
        start = time.time() + 1
        found = list(pool.map(ask, names, [start] * len(names), [start + SECONDS] * len(names)))
    print(f"all computed for the same {SECONDS:g} seconds:")
    for name, answer in zip(names, found, strict=True):
        share = answer["used"] / SECONDS
        bar = "█" * round(share * WIDTH)
        cores = ",".join(map(str, answer["cores"]))
        print(f"{name:<11}{bar:<{WIDTH}}{share:>5.0%} of a core   (core {cores}; {answer['memory'] >> 20} MB)")
    if len(sys.argv) > 2 and found[1]["used"]:
        print(f"{names[0]} : {names[1]} = {found[0]['used'] / found[1]['used']:.1f} : 1")


def take(megabytes: int) -> None:
    held = []
    for taken in range(8, megabytes + 1, 8):
        held.append(b"x" * (8 << 20))
        print(f"my thesis has {taken} MB", flush=True)
    print("nobody stopped me")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["member"]:
            HTTPServer(("", 8000), Member).serve_forever()
        case ["measure", *names]:
            measure(names)
        case ["take", megabytes]:
            take(int(megabytes))
        case _:
            sys.exit(__doc__)
