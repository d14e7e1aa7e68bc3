"""A registry, as the OCI distribution specification has it: requests that are authorized, redirected and tried again.

Rules: runs under trio, imported only by what is about to use it. Credentials go to the registry that they are filed
for, and to the token server that it names; never to another origin (CVE-2020-15157), never over plain HTTP unless the
registry itself is spoken to so. No redirect leads from TLS to plain HTTP. Answers have limits. What comes is not
verified here except for its length: `pulling` does that, where the bytes are.
Source: opencontainers/distribution-spec spec.md; distribution docs/spec/auth/token.md.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import trio
from pycompose.frozen import dataclass
from pycompose.plain_text import one_line
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.manifest import ACCEPTED, MAX_JSON

from . import credentials
from .config import RegistryEndpoint
from .credentials import Credentials

ATTEMPTS = 5
PAUSE = 0.5  # seconds before the second attempt; doubled each time
MAX_PAUSE = 60.0
MAX_REDIRECTS = 10
MAX_TOKEN = 1 << 20
CHUNK = 1 << 20
_REDIRECTS = (301, 302, 303, 307, 308)
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
Body = Callable[[], bytes | AsyncIterable[bytes]]


class RegistryError(ImageError):
    """A registry that refuses or cannot be reached; `status` is HTTP's, 0 without an answer.

    `pause` is what the registry asks for, in seconds; `attempts` are worth making.
    """

    def __init__(
        self, message: str, hint: str = "", *, status: int = 0, pause: float | None = None, attempts: int = ATTEMPTS
    ) -> None:
        super().__init__(message, hint)
        self.status, self.pause, self.attempts = status, pause, attempts

    @property
    def transient(self) -> bool:
        return self.status in (0, 408, 429, 500, 502, 503, 504)


class RegistryRefused(ImageError):
    """A registry does what none may: what it says is not believed, and not asked for again."""


@dataclass(frozen=True, slots=True)
class _Challenge:
    scheme: str  # "bearer" or "basic"
    realm: str = ""
    service: str = ""
    scope: str = ""


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host.lower(), url.port or {"https": 443, "http": 80}.get(url.scheme, 0)


def _tls(endpoint: RegistryEndpoint) -> ssl.SSLContext:
    """The system's certificates, SSL_CERT_FILE and SSL_CERT_DIR (OpenSSL reads both), and the registry's own."""
    if endpoint.insecure and not endpoint.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    context = ssl.create_default_context()
    try:
        if endpoint.ca:
            context.load_verify_locations(endpoint.ca)
    except OSError as error:
        hint = "`ca` of the registry in registries.toml"
        raise ImageError(f"{endpoint.ca}: {error.strerror or error}", hint) from error
    if not endpoint.ca and not any(context.cert_store_stats().values()) and not os.environ.get("SSL_CERT_FILE"):
        import certifi  # a system without ca-certificates

        context.load_verify_locations(certifi.where())
    return context


class Registry:
    """One endpoint; close it with `aclose`. Tokens are kept for as long.

    Its credentials are those on file, unless others are to be tried: `known`.
    """

    def __init__(
        self, endpoint: RegistryEndpoint, environ: Mapping[str, str] = os.environ, known: Credentials | None = None
    ) -> None:
        self.endpoint, self._environ = endpoint, environ
        try:
            self._client = httpx.AsyncClient(
                verify=_tls(endpoint),
                timeout=httpx.Timeout(60.0, connect=15.0, pool=None),
                trust_env=not endpoint.loopback,  # proxies are not for this machine
                headers={"user-agent": "pycompose", "accept-encoding": "identity"},
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            hint = "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY name it, NO_PROXY what goes without; an http:// one is wanted"
            raise ImageError(f"{endpoint.registry}: the proxy cannot be used: {error}", hint) from error
        self._scheme = endpoint.scheme
        self._fixed = not endpoint.insecure or endpoint.scheme == "http"  # the scheme is not tried out any more
        self._known = known
        self._asked = known is not None
        self._is_login = known is not None
        self._refresh_token = ""
        self._authorizations: dict[str, str] = {}  # scope -> header
        self._asking = trio.Lock()

    async def aclose(self) -> None:
        await self._client.aclose()

    @property
    def base(self) -> str:
        return replace(self.endpoint, scheme=self._scheme).base

    def _says(self, what: str) -> str:
        return f"{self.endpoint.registry}: {what}"

    # Requests

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        fine: tuple[int, ...] = (200,),
    ) -> AsyncIterator[httpx.Response]:
        """One request, redirected and authorized; the answer's body is not read yet. `path` is below the endpoint, or
        a whole address. Raises RegistryError for statuses that are not `fine`."""
        if not self._fixed:
            await self._try_out()
        here = httpx.URL(self.base + "/")
        url = here.join(path) if "://" in path else httpx.URL(self.base + path)
        self._check_way(here, url)
        asked, redirects = False, 0
        while True:
            sent_headers = dict(headers or {})
            if _origin(url) == _origin(here) and scope in self._authorizations:
                sent_headers["authorization"] = self._authorizations[scope]
            response = await self._send(method, url, sent_headers, body)
            try:
                if response.status_code == 401 and not asked and _origin(url) == _origin(here):
                    asked = True
                    sent = sent_headers.get("authorization", "")
                    challenges = response.headers.get_list("www-authenticate")
                    await response.aclose()
                    if await self._authorize(scope, challenges, sent):
                        continue
                    raise self._denied(401, "")
                if response.status_code in _REDIRECTS and "location" in response.headers:
                    redirects += 1
                    url = self._redirected(method, response, url, redirects)
                    continue
                if response.status_code not in fine:
                    raise await self._error(response)
                yield response
                return
            finally:
                await response.aclose()

    async def _send(self, method: str, url: httpx.URL, headers: dict[str, str], body: Body | None) -> httpx.Response:
        try:
            content = body() if body else None
            request = self._client.build_request(method, url, headers=headers, content=content)
            return await self._client.send(request, stream=True, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: Exception) -> RegistryError:
        text = _reason(error)
        hint = ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            hint = "if its certificate is your own: `ca` in registries.toml, or SSL_CERT_FILE"
        elif "SSL" in text:
            hint = "if it speaks plain HTTP: `insecure = true` in registries.toml"
        attempts = 2 if isinstance(error, httpx.ConnectError) else ATTEMPTS  # nobody waits for what is not there
        message = self._says(f"cannot be reached: {text}")
        return RegistryError(message, hint or "is its name right, is it up, and is there a network?", attempts=attempts)

    async def _try_out(self) -> None:
        """TLS first, then, where the user or the place allows it, plain HTTP."""
        async with self._asking:
            if self._fixed:
                return
            try:
                response = await self._client.get(f"{self.endpoint.base}/v2/", follow_redirects=False)
                await response.aclose()
            except (httpx.ConnectError, httpx.RemoteProtocolError):
                self._scheme = "http"
            except httpx.HTTPError as error:
                raise self.unreachable(error) from error
            self._fixed = True

    def _check_way(self, before: httpx.URL, after: httpx.URL) -> None:
        if after.scheme not in ("http", "https") or after.userinfo:
            raise RegistryRefused(self._says(f"leads to {str(after)[:100]!r}, which is no place for a blob"))
        if before.scheme == "https" and after.scheme == "http":
            raise RegistryRefused(self._says(f"leads from TLS to plain HTTP: {after.host}"))

    def _redirected(self, method: str, response: httpx.Response, url: httpx.URL, count: int) -> httpx.URL:
        if count > MAX_REDIRECTS:
            raise RegistryRefused(self._says("redirects without end"))
        if method not in ("GET", "HEAD") and response.status_code not in (307, 308):
            raise RegistryRefused(self._says(f"answers {method} with a redirect"))
        try:
            target = url.join(response.headers["location"])
        except httpx.InvalidURL as error:
            raise RegistryRefused(self._says("redirects to what is no address")) from error
        self._check_way(url, target)
        return target

    async def _error(self, response: httpx.Response) -> RegistryError:
        text = (await self.limited(response, 1 << 16, short=True)).decode(errors="replace")
        try:
            reasons = [f"{one.get('message') or one.get('code')}" for one in json.loads(text)["errors"]]
            said = one_line("; ".join(one for one in reasons if one), 300)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            said = ""
        status = response.status_code
        if status in (401, 403):
            return self._denied(status, said)
        pause = response.headers.get("retry-after", "")
        words = said or one_line(response.reason_phrase, 100) or "an error"
        hints = {404: "are the name and the tag right?", 429: "logging in raises the limit"}
        wait = float(pause) if pause.isdecimal() and len(pause) < 6 else None
        return RegistryError(self._says(f"{words} ({status})"), hints.get(status, ""), status=status, pause=wait)

    def _denied(self, status: int, said: str) -> RegistryError:
        if self._known is None:
            hint = (
                f"no credentials for {self.endpoint.registry} in {credentials.path(self._environ)}; is the name right?"
            )
        else:
            hint = f"the credentials for {self.endpoint.registry} in {credentials.path(self._environ)} were not enough"
        return RegistryError(self._says(f"access denied ({said or status})"), hint, status=status)

    async def limited(self, response: httpx.Response, limit: int, *, short: bool = False) -> bytes:
        """The body, which may have so many bytes. `short`: what is beyond is left out."""
        data = b""
        try:
            async with _raw(response) as chunks:
                async for chunk in chunks:
                    data += chunk
                    if len(data) > limit:
                        if short:
                            return data[:limit]
                        raise RegistryRefused(self._says(f"an answer is larger than {limit} bytes"))
        except httpx.HTTPError as error:
            if not short:
                raise self.unreachable(error) from error
        return data

    # Authorization

    async def _authorize(self, scope: str, challenges: list[str], sent: str) -> bool:
        """Whether there is another authorization to try than the one that was `sent`."""
        async with self._asking:
            if self._authorizations.get(scope, "") != sent:
                return True  # another task has been here meanwhile
            if not self._asked:
                self._known = await trio.to_thread.run_sync(credentials.find, self.endpoint.registry, self._environ)
                self._asked = True
            offered = [challenge for text in challenges for challenge in _challenges(text)]
            for challenge in offered:
                if challenge.scheme == "bearer":
                    self._authorizations[scope] = "Bearer " + await self._token(challenge, scope)
                    return True
            if any(challenge.scheme == "basic" for challenge in offered) and self._known and self._known.username:
                self._authorizations[scope] = _basic(self._known)
                return self._authorizations[scope] != sent
            return False

    async def _token(self, challenge: _Challenge, scope: str) -> str:
        try:
            realm = httpx.URL(challenge.realm)
        except httpx.InvalidURL:
            realm = httpx.URL("")
        plain = realm.scheme == "http" and self._scheme == "http"
        if (realm.scheme != "https" and not plain) or not realm.host or realm.userinfo:
            raise RegistryRefused(
                self._says(f"its token server is {challenge.realm[:100]!r}, which is not safe to ask")
            )
        wanted = [("service", challenge.service)] if challenge.service else []
        wanted += [("scope", one) for one in (scope or challenge.scope).split() if one]
        known, headers = self._known, {}
        if known and known.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": known.identity_token, "client_id": "pycompose"}
            form |= {name: value for name, value in wanted if name == "service"}
            form["scope"] = " ".join(value for name, value in wanted if name == "scope")
            request = self._client.build_request("POST", realm, data=form)
        else:
            if known and known.username:
                headers["authorization"] = _basic(known)
                wanted.append(("account", known.username))
            if self._is_login:
                wanted += [("client_id", "pycompose"), ("offline_token", "true")]
            url = realm.copy_merge_params(httpx.QueryParams(tuple(wanted)))
            request = self._client.build_request("GET", url, headers=headers)
        try:
            response = await self._client.send(request, stream=True, follow_redirects=False)
        except httpx.HTTPError as error:
            raise RegistryError(
                self._says(f"its token server {realm.host} cannot be reached: {_reason(error)}")
            ) from error
        try:
            if response.status_code != 200:
                raise await self._error(response)
            answer = json.loads(await self.limited(response, MAX_TOKEN))
            token = answer.get("token") or answer.get("access_token")
            refresh = answer.get("refresh_token")
            self._refresh_token = refresh if self._is_login and isinstance(refresh, str) else ""
        except (ValueError, RecursionError, AttributeError) as error:
            raise RegistryRefused(self._says(f"its token server {realm.host} gave no token")) from error
        finally:
            await response.aclose()
        if not isinstance(token, str) or not token or not token.isascii() or any(c.isspace() for c in token):
            raise RegistryRefused(self._says(f"its token server {realm.host} gave no token"))
        return token

    # What a registry has

    async def log_in(self) -> str:
        """Try the credentials; the token that is to be kept instead of the password, where the registry gives one.

        Raises RegistryError, with status 401 where they are not good.
        """
        async with self.request("GET", "/v2/", ""):
            return self._refresh_token

    async def steady(self, attempt: Callable[[], Any]) -> Any:
        """The result of `attempt`, which is tried again where that may help."""
        for number in range(ATTEMPTS):
            try:
                return await attempt()
            except RegistryError as error:
                if not error.transient or number + 1 >= error.attempts or (error.pause or 0) > MAX_PAUSE:
                    raise
                await trio.sleep(error.pause if error.pause is not None else pause(number))
        raise AssertionError

    async def manifest(self, repository: str, reference: str, *, only_once: bool = False) -> tuple[bytes, str, str]:
        """(bytes, media type, the digest that the registry says) of a tag or digest, unverified."""

        async def ask() -> tuple[bytes, str, str]:
            path = f"/v2/{repository}/manifests/{reference}"
            scope = f"repository:{repository}:pull"
            async with self.request("GET", path, scope, headers={"accept": ", ".join(ACCEPTED)}) as response:
                kind = response.headers.get("content-type", "").partition(";")[0].strip()
                return await self.limited(response, MAX_JSON), kind, response.headers.get("docker-content-digest", "")

        document: tuple[bytes, str, str] = await (ask() if only_once else self.steady(ask))
        return document

    async def blob(self, repository: str, digest: str, size: int, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from `start` on; the caller goes on from where an error stopped it. Unverified."""
        headers = {"range": f"bytes={start}-"} if start else {}
        path, scope = f"/v2/{repository}/blobs/{digest}", f"repository:{repository}:pull"
        async with self.request("GET", path, scope, headers=headers, fine=(200, 206)) as response:
            skip = start
            if response.status_code == 206:
                match = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
                if not start or not match or int(match[1]) != start:
                    raise RegistryRefused(self._says("answers with another part of a blob than was asked for"))
                skip = 0
            try:
                async with _raw(response) as chunks:
                    async for chunk in chunks:
                        if skip:
                            chunk, skip = chunk[skip:], max(skip - len(chunk), 0)
                        start += len(chunk)
                        if start > size:
                            raise RegistryRefused(self._says(f"a blob has more than its {size} bytes: {digest}"))
                        if chunk:
                            yield chunk
            except (httpx.HTTPError, httpx.StreamError) as error:
                raise self.unreachable(error) from error
        if start < size:
            raise RegistryError(self._says(f"a blob ended after {start} of {size} bytes: {digest}"))

    async def has_blob(self, repository: str, digest: str, scope: str) -> bool:
        async def ask() -> bool:
            path = f"/v2/{repository}/blobs/{digest}"
            async with self.request("HEAD", path, scope, fine=(200, 404)) as response:
                return response.status_code == 200

        return bool(await self.steady(ask))


def pause(number: int) -> float:
    """Seconds to wait after that many failures."""
    return PAUSE * float(2**number) * (0.75 + random.random() / 2)


def _reason(error: BaseException) -> str:
    """The words of the innermost error that has any: httpx and its libraries wrap it several times over."""
    reason, here, depth = "", error, 0
    while here is not None and depth < 20:
        inner = here.__cause__ or here.__context__  # trio suppresses what TLS said
        if isinstance(here, BaseExceptionGroup):
            inner = here.exceptions[0]
        elif isinstance(here, OSError) and here.strerror:
            reason = here.strerror
        elif text := str(here):
            reason = text
        here, depth = inner, depth + 1  # type: ignore[assignment]
    return reason or type(error).__name__


@asynccontextmanager
async def _raw(response: httpx.Response) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """The body as it comes, in large pieces. httpx leaves its generators to the garbage collector where a reader stops
    early, which trio forbids: with the connection closed, they end by themselves."""
    stream = response.aiter_raw(CHUNK)
    try:
        yield stream
    finally:
        await response.aclose()
        with suppress(Exception):
            async for _ in stream:
                pass


def _basic(known: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{known.username}:{known.password}".encode()).decode()


def _challenges(text: str) -> list[_Challenge]:
    """Of one WWW-Authenticate header (RFC 9110 section 11.6.1); schemes that are not known are left out."""
    challenges = []
    for match in re.finditer(r"(?:^|,\s*)(bearer|basic)\b", text, re.IGNORECASE):
        rest = re.split(r",\s*(?:bearer|basic)\s", text[match.end() :], maxsplit=1, flags=re.IGNORECASE)[0]
        parameters = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
        challenges.append(
            _Challenge(
                match[1].lower(),
                parameters.get("realm", ""),
                parameters.get("service", ""),
                parameters.get("scope", ""),
            )
        )
    return challenges
