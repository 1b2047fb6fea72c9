"""http(s) URL -> bytes, within limits of time and size."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ggufvlm.errors import ImageError
from ggufvlm.media.sources.labels import label, url_label
from ggufvlm.version import __version__, package_command

if TYPE_CHECKING:
    import httpx

_DOWNLOAD_YOURSELF = "download it with a browser and pass the file"


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """How long and how much a download may take."""

    connect_s: float = 10.0
    """Seconds until a connection stands."""
    read_s: float = 30.0
    """Seconds of silence from the server."""
    total_s: float = 60.0
    """Seconds for everything, redirects included; looked at whenever something arrives."""
    max_bytes: int = 50_000_000
    """Largest body, after decompression, in bytes."""
    max_redirects: int = 5


DEFAULT_LIMITS = FetchLimits()


def fetch(url: str, *, limits: FetchLimits = DEFAULT_LIMITS) -> bytes:
    """Download a URL. Proxies come from the environment (``HTTPS_PROXY``, ``NO_PROXY`` ...).

    Raises:
        ImageError: not http(s), also after a redirect; unreachable, too slow, too large; any status but success.
    """
    source = url_label(url)
    deadline = time.monotonic() + limits.total_s
    with (
        _explained(source, limits),
        _client(source, limits, deadline) as client,
        client.stream("GET", url) as response,
    ):
        if not response.is_success:
            raise _bad_status(source, response)
        return _body(response, source, limits, deadline)


def _client(source: str, limits: FetchLimits, deadline: float) -> httpx.Client:
    import httpx

    def check(request: httpx.Request) -> None:
        # Runs before every request, also those that a redirect asks for.
        if request.url.scheme not in ("http", "https"):
            raise ImageError(f"{source}: leads to {request.url.scheme}:, only http and https are followed")
        _check_time(source, limits, deadline)

    return httpx.Client(
        timeout=httpx.Timeout(limits.read_s, connect=limits.connect_s),
        follow_redirects=True,
        max_redirects=limits.max_redirects,
        headers={"User-Agent": f"ggufvlm/{__version__}", "Accept": "image/*,*/*;q=0.5"},
        event_hooks={"request": [check]},
    )


def _body(response: httpx.Response, source: str, limits: FetchLimits, deadline: float) -> bytes:
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limits.max_bytes:
        raise _too_large(source, limits)
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > limits.max_bytes:
            raise _too_large(source, limits)
        _check_time(source, limits, deadline)
    return bytes(body)


def _check_time(source: str, limits: FetchLimits, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ImageError(f"{source}: took longer than {limits.total_s:g} s", hint=_DOWNLOAD_YOURSELF)


def _too_large(source: str, limits: FetchLimits) -> ImageError:
    return ImageError(
        f"{source}: larger than the limit of {limits.max_bytes / 1e6:g} MB for downloads", hint=_DOWNLOAD_YOURSELF
    )


def _bad_status(source: str, response: httpx.Response) -> ImageError:
    status = f"{response.status_code} {label(response.reason_phrase)}".strip()
    hint = _DOWNLOAD_YOURSELF if response.status_code in (401, 403, 429) else None
    return ImageError(f"{source}: the server answered {status}", hint=hint)


@contextmanager
def _explained(source: str, limits: FetchLimits) -> Iterator[None]:
    """Turn what httpx raises into an ImageError of one line."""
    import httpx

    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ImageError(f"{source}: no connection within {limits.connect_s:g} s") from error
    except httpx.TimeoutException as error:
        raise ImageError(f"{source}: the server was silent for {limits.read_s:g} s") from error
    except httpx.TooManyRedirects as error:
        raise ImageError(f"{source}: more than {limits.max_redirects} redirects") from error
    except httpx.UnsupportedProtocol as error:
        raise ImageError(f"{source}: only http and https URLs are downloaded") from error
    except httpx.ConnectError as error:
        raise _no_connection(source, error) from error
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise ImageError(f"{source}: the connection broke before the image was complete{_why(error)}") from error
    except httpx.HTTPError as error:
        raise ImageError(f"{source}: the download failed{_why(error)}") from error
    except httpx.InvalidURL as error:
        raise ImageError(f"{source}: not a valid URL{_why(error)}") from error
    except ImportError as error:  # httpx asks for its SOCKS package only when a proxy needs it
        raise ImageError(f"{source}: the proxy cannot be used{_why(error)}", hint=package_command("socksio")) from error
    except (OSError, ValueError) as error:  # a certificate file or a proxy named in the environment
        raise ImageError(f"{source}: the network settings are not usable{_why(error)}") from error


def _no_connection(source: str, error: BaseException) -> ImageError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return ImageError(f"{source}: no secure connection (TLS){_why(error)}", hint=_DOWNLOAD_YOURSELF)
        cause = cause.__cause__ or cause.__context__
    return ImageError(f"{source}: no connection to the server{_why(error)}")


def _why(error: BaseException) -> str:
    text = label(str(error).strip().partition("\n")[0])
    return f" ({text})" if text else ""
