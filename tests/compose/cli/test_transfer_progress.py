"""How images on their way look."""

from __future__ import annotations

import json

from pycompose.compose.cli.output.transfer_progress import TransferBoard
from pycompose.runtime.images.registry.progress import Transfer

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def lines(board: TransferBoard, now: float, width: int = 100, height: int = 0) -> list[str]:
    return board.lines(now, width, height, colour=False)


def test_layers_show_bytes_and_rates_while_they_move_and_one_line_is_left() -> None:
    board = TransferBoard("pull", ["redis:7", "web"], 0.0)
    board.skip("web", "Can be built", 0.0)
    board.take(Transfer("redis:7", "", "started"), 0.0)
    board.take(Transfer("redis:7", ONE, "waiting", 0, 4_000_000), 0.0)
    board.take(Transfer("redis:7", TWO, "waiting", 0, 2_000_000), 0.0)
    for moment in (1, 2):
        board.take(Transfer("redis:7", ONE, "started", moment * 1_000_000, 4_000_000), float(moment))
    head, redis, one, two, web = lines(board, 2.0)
    assert head == "[+] pull 1/2  2.0s"
    assert "Pulling" in redis
    assert "2MB / 6MB  1MB/s" in redis
    assert "111111111111 Downloading [━━━━━━━━━━━━            ]     2MB / 4MB  1MB/s" in one
    assert "222222222222 Waiting" in two
    assert "Skipped" in web
    board.take(Transfer("redis:7", ONE, "finishing", 4_000_000, 4_000_000), 3.0)
    assert "Unpacking" in lines(board, 3.0)[2]
    board.take(Transfer("redis:7", ONE, "done", 4_000_000, 4_000_000), 3.0)
    board.take(Transfer("redis:7", TWO, "here", 0, 2_000_000), 3.0)
    board.take(Transfer("redis:7", "", "done", text="sha256:x"), 4.0)
    board.finish(4.0)
    assert [line.split() for line in lines(board, 9.0)] == [
        ["[+]", "pull", "2/2", "4.0s"],
        ["✔", "redis:7", "Pulled", "4.0s"],
        ["-", "web", "Skipped", "Can", "be", "built"],
    ]


def test_a_small_screen_shows_what_moves() -> None:
    board = TransferBoard("pull", ["a"], 0.0)
    board.take(Transfer("a", "", "started"), 0.0)
    for number in range(20):
        board.take(Transfer("a", f"sha256:{number:064d}", "waiting", 0, 10), 0.0)
    board.take(Transfer("a", f"sha256:{19:064d}", "started", 1, 10), 0.0)
    shown = lines(board, 0.0, height=5)
    assert len(shown) == 5
    assert "Downloading" in shown[2]
    assert all(len(line) < 40 for line in lines(board, 0.0, width=40))


def test_an_error_and_a_retry_say_why() -> None:
    board = TransferBoard("push", ["a"], 0.0)
    board.take(Transfer("a", "", "started"), 0.0)
    board.take(Transfer("a", ONE, "retrying", 1, 10, "the line broke"), 0.0)
    assert "Retrying" in lines(board, 0.0)[2]
    assert "the line broke" in lines(board, 0.0)[2]
    board.take(Transfer("a", "", "failed", text="denied\nmore"), 1.0)
    assert lines(board, 1.0)[1].split() == ["✘", "a", "Error", "1.0s", "denied"]


def test_plain_lines_tell_what_is_over_and_json_tells_all() -> None:
    board = TransferBoard("pull", ["a"], 0.0)
    events = [
        Transfer("a", "", "started"),
        Transfer("a", ONE, "started", 5, 10),
        Transfer("a", ONE, "done", 10, 10),
        Transfer("a", "", "done", text="sha256:x"),
    ]
    plain, told = [], []
    for event in events:
        board.take(event, 0.0)
        plain.append(board.plain(event))
        told.append(json.loads(board.as_json(event)))
    assert plain == [" Image a Pulling", "", " 111111111111 Pull complete 10B", " Image a Pulled  sha256:x"]
    assert told[1] == {
        "id": "111111111111",
        "parent_id": "Image a",
        "status": "Working",
        "text": "Downloading",
        "current": 5,
        "total": 10,
        "percent": 50,
    }
    assert told[3] == {"id": "Image a", "status": "Done", "text": "Pulled", "details": "sha256:x"}
