"""What the network tests run inside the test's namespaces: `container`, `supervisor` and the `ask` of a client.

container FD NAME     makes its sockets, hands them over on FD, answers NAME on tcp and udp port 80, and on 90
supervisor FD ROOT PROJECT   a process with a Networks, which does what the expressions on FD say
tcp|udp HOST PORT     prints the answer, or the error's name
dns NAME KIND [tcp]   prints the code and the sorted answers of 127.0.0.11
frames LINK HEX...    sends these Ethernet frames
upstream ADDRESS      a DNS server that answers names under `good.` alone, and is silent on others
flood FD              asks 127.0.0.11 for many names, in many ways, over many connections; "x" when it has, ends with FD
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import sys


def container(channel: int, name: str) -> None:
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
    netfilter = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 12)
    made = []
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        sock = socket.socket(socket.AF_INET, kind)
        sock.bind(("127.0.0.11", 0))
        made.append(sock)
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    with socket.socket(fileno=channel) as theirs:
        fds = [namespace, route.fileno(), netfilter.fileno(), *(s.fileno() for s in made)]
        socket.send_fds(theirs, [b"x"], fds)
    serving = []
    for port in (80, 90):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            sock = socket.socket(socket.AF_INET, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("0.0.0.0", port))
            if kind == socket.SOCK_STREAM:
                sock.listen(100)
            serving.append(sock)
    while True:
        for sock in select.select(serving, [], [])[0]:
            if sock.type == socket.SOCK_STREAM:
                client, _ = sock.accept()
                with client:
                    client.sendall(name.encode())
            else:
                _, sender = sock.recvfrom(100)
                sock.sendto(name.encode(), sender)


def supervisor(channel: int, root: str, project: str) -> None:
    import trio
    from pycompose.network import networks, spec

    async def main() -> None:
        here = networks.Networks(root, project)
        here.dns._fixed = ()
        names = {**vars(spec), "n": here}
        talk = socket.socket(fileno=channel)
        async with trio.open_nursery() as nursery:
            await nursery.start(here.run)
            while True:
                await trio.lowlevel.wait_readable(talk)
                data, fds, _, _ = socket.recv_fds(talk, 1 << 16, 10)
                if not data:
                    nursery.cancel_scope.cancel()
                    return
                try:
                    code = compile(data.decode(), "told", "eval", 0)
                    result = eval(code, {**names, "fds": fds})
                    answer = ["", repr(result)]
                except Exception as error:
                    answer = [type(error).__name__, str(error)]
                talk.send(json.dumps(answer).encode())

    trio.run(main)


def ask(kind: str, host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect((host, port))
            if kind == "udp":
                sock.send(b"?")
            return sock.recv(100).decode() or "closed"
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return errno.errorcode[error.errno or 0]


def dns(name: str, kind: int, stream: bool) -> str:
    query = query_for(name, kind)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect(("127.0.0.11", 53))
        if stream:
            sock.send(struct.pack(">H", len(query)) + query)
            sock.recv(2)
        else:
            sock.send(query)
        answer = sock.recv(4096)
    found, at = [], len(query)
    for _ in range(struct.unpack_from(">H", answer, 6)[0]):
        length = struct.unpack_from(">H", answer, at + 10)[0]
        data = answer[at + 12 : at + 12 + length]
        if kind == 12:
            found.append(data[1 : 1 + data[0]].decode())
        else:
            found.append(socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, data))
        at += 12 + length
    return " ".join([str(answer[3] & 15), *sorted(found)])


def query_for(name: str, kind: int, number: int = 0x0707, more: bytes = b"") -> bytes:
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, bool(more))
    return head + labels + b"\0" + struct.pack(">HH", kind, 1) + more


def upstream(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        sock.bind((address, 53))
        print("up", flush=True)
        while True:
            query, sender = sock.recvfrom(4096)
            if query[12:17] == b"\4good":
                record = struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + bytes([192, 0, 2, 9])
                sock.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + record, sender)


def flood(channel: int) -> None:
    where = ("127.0.0.11", 53)
    connections = []
    for _ in range(60):
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(where)
        connections.append(sock)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.socket(fileno=channel) as ours:
        sock.connect(where)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for number in range(20000):
            padded = struct.pack(">BHHIHHH", 0, 41, 512 + number % 3000, 0, 900, 12, 896) + os.urandom(896)
            for query in (
                query_for(f"{number}.bad.example", 1, number),
                query_for("web", number % 9000, number, padded),
            ):
                with contextlib.suppress(OSError):
                    sock.send(query)
            if number % 100 == 0:
                while select.select([sock], [], [], 0.005)[0]:
                    sock.recv(4096)
        ours.send(b"x")
        ours.recv(1)


def send_frames(link: str, frames: list[str]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((link, 0))
        for frame in frames:
            sock.send(bytes.fromhex(frame))


match sys.argv[1:]:
    case ["upstream", address]:
        upstream(address)
    case ["flood", fd]:
        flood(int(fd))
    case ["frames", link, *frames]:
        send_frames(link, frames)
    case ["container", fd, name]:
        container(int(fd), name)
    case ["supervisor", fd, root, project]:
        supervisor(int(fd), root, project)
    case ["dns", name, kind, *rest]:
        print(dns(name, int(kind), bool(rest)))
    case [kind, host, port, *_times]:
        times = int(_times[0]) if _times else 1
        print(" ".join(ask(kind, host, int(port)) for _ in range(times)))
