"""A login to a registry: credentials are tried at /v2/, by basic or bearer, and kept only where they are good."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import trio
from pycompose.runtime.images.errors import ImageError

from . import credentials
from .config import endpoints
from .credentials import Credentials
from .distribution import Registry, RegistryError


class LoginRefused(ImageError):
    """The registry was asked, and does not take these credentials."""


async def log_in(registry: str, proposed: Credentials, environ: Mapping[str, str] = os.environ) -> str:
    """Log in to `host[:port]`; the path of a file that has the secret in plain text now, or "".

    Raises LoginRefused, and ImageError for all else. Nothing is kept then.
    """
    (endpoint,) = endpoints(registry, pull=False, environ=environ)
    client = Registry(endpoint, environ, proposed)
    try:
        token = await client.log_in()
    except RegistryError as error:
        if error.status != 401:
            raise
        raise LoginRefused(
            f"login attempt to {client.base}/v2/ failed with status: 401 Unauthorized",
            "are the name and the password right? some registries want a token instead of the password",
        ) from error
    finally:
        await client.aclose()
    if token:
        proposed = replace(proposed, password="", identity_token=token)
    return await trio.to_thread.run_sync(credentials.store, registry, proposed, environ)
