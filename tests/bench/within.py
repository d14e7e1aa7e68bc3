"""What runs at the ends of a measurement, in a container or on the host: `python -I -S -c <this text> WHAT …`.

The same program for everybody who is measured. Prints one number. Standard library only; no dollar sign in the text,
because compose files would take it for a variable.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Callable

CHUNK = 1 << 20


def receive(port: str) -> None:
    """Take connections for ever; tell each, at its end, how many bytes came."""
    listener = socket.create_server(("0.0.0.0", int(port)))
    buffer = bytearray(CHUNK)
    while True:
        connection, _ = listener.accept()
        total = 0
        while got := connection.recv_into(buffer):
            total += got
        connection.sendall(b"%d" % total)
        connection.close()


def send(host: str, port: str, seconds: str) -> None:
    """Bit/s that arrived at a receiver. It is waited for at most 5 s."""
    patience = time.monotonic() + 5
    while True:
        try:
            connection = socket.create_connection((host, int(port)), timeout=5)
            break
        except OSError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.05)
    connection.settimeout(30)
    data = bytes(CHUNK)
    begin = time.monotonic()
    while time.monotonic() - begin < float(seconds):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    total = int(connection.recv(100))
    print(8 * total / (time.monotonic() - begin))


def asked(name: str, number: int, end: float, server: str) -> int:
    """Answers until `end`, one question at a time."""
    labels = b"".join(b"%c%s" % (len(part), part.encode()) for part in name.split("."))
    question = number.to_bytes(2, "big") + bytes.fromhex("01000001000000000000") + labels + bytes.fromhex("0000010001")
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2)
        asking.connect((server, 53))
        while time.monotonic() < end:
            asking.send(question)
            answer = asking.recv(512)
            if answer[:2] != question[:2] or answer[3] & 15 or answer[6:8] == bytes(2):
                raise SystemExit("no answer to the question: " + answer.hex())
            count += 1
    return count


def ask(name: str, askers: str, seconds: str) -> None:
    """Answers per second that so many processes get together."""
    with open("/etc/resolv.conf") as file:
        server = next(line.split()[1] for line in file if line.startswith("nameserver"))
    asked(name, 0, time.monotonic() + 0.05, server)
    end = time.monotonic() + float(seconds)
    reader, writer = os.pipe()
    for number in range(int(askers)):
        if os.fork() == 0:
            status = 1
            try:
                os.write(writer, asked(name, number, end, server).to_bytes(8, "big"))
                status = 0
            finally:
                os._exit(status)
    os.close(writer)
    total = 0
    while count := os.read(reader, 8):
        total += int.from_bytes(count, "big")
    if any(os.wait()[1] for _ in range(int(askers))):
        raise SystemExit("an asker got no answer")
    print(total / float(seconds))


def write(size: str) -> None:
    """Print `size` bytes in lines of 100; leave the seconds that it took in /tmp/took; stay."""
    lines = b"".join(b"%098d\n" % number for number in range(640))
    lines = b"".join(b"x" + line for line in lines.splitlines(keepends=True))
    begin = time.monotonic()
    left = int(size)
    while left > 0:
        data = memoryview(lines)[: min(left, len(lines))]
        left -= len(data)
        while data:
            data = data[os.write(1, data) :]
    took = time.monotonic() - begin
    with open("/tmp/took.new", "w") as file:
        file.write(str(took))
    os.rename("/tmp/took.new", "/tmp/took")
    select.select([], [], [])


def took() -> None:
    """What `write` left, as soon as it is there, at most a minute."""
    end = time.monotonic() + 60
    while not os.path.exists("/tmp/took") and time.monotonic() < end:
        time.sleep(0.05)
    with open("/tmp/took") as file:
        print(file.read())


if __name__ == "__main__":
    parts: dict[str, Callable[..., None]]
    parts = {"receive": receive, "send": send, "ask": ask, "write": write, "took": took}
    parts[sys.argv[1]](*sys.argv[2:])
