"""Counts how often the page was asked for. The number is Redis's, so all replicas of this service tell the same one."""

import os
import socket

from flask import Flask
from redis import Redis

app = Flask(__name__)
redis = Redis(os.environ.get("REDIS", "redis"))


@app.get("/")
def visited() -> str:
    return f"visit {redis.incr('visits')}, told by {socket.gethostname()}\n"


@app.get("/health")
def health() -> str:
    redis.ping()
    return "well\n"
