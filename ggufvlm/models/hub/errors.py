"""What went wrong with the Hub, one sentence for each case."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ggufvlm.errors import DownloadError
from ggufvlm.version import upgrade_command

if TYPE_CHECKING:
    import ssl

_AGAIN = "run the same command again; it goes on where it stopped"
_TRANSIENT = frozenset({"TimeoutException", "NetworkError", "RemoteProtocolError"})
_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})


def http_error() -> type[Exception]:
    """The base of the HTTP client's errors: huggingface_hub 1 uses httpx, huggingface_hub 2 httpx2."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")


def is_transient(error: BaseException) -> bool:
    """Whether asking again may help."""
    status = _status(error)
    if status:
        return status in _TRANSIENT_STATUS
    return bool(_TRANSIENT & _kinds(error)) and not _tls_error(error)


def is_unreachable(error: BaseException) -> bool:
    """Whether no connection came about at all."""
    return "ConnectError" in _kinds(error)


def retry_after(error: BaseException) -> float | None:
    """Seconds that the server asks to wait."""
    value = error.response.headers.get("Retry-After", "") if _status(error) else ""  # type: ignore[attr-defined]
    return float(value) if value.isdecimal() else None


@contextmanager
def explained(repo: str, what: str | None = None) -> Iterator[None]:
    """Turn errors of the Hub's client into DownloadError. ``what`` is wanted of ``repo``: a file, a revision."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except DownloadError:
        raise
    except HFValidationError as error:
        raise DownloadError(f"{repo} cannot be the name of a repository", hint="USER/REPO, as on the Hub") from error
    except (OSError, http_error()) as error:
        raise explain(error, repo, what) from error


def explain(error: BaseException, repo: str, what: str | None = None) -> DownloadError:
    """The sentence for an error of the Hub's client, of the network or of the disk.

    Args:
        error: what was raised.
        repo: the repository that was asked for.
        what: a file or a revision of it, if one was wanted.
    """
    if "OfflineModeIsEnabled" in _kinds(error):
        return offline(repo)
    if _status(error):
        return _refused(error, repo, what)
    tls = _tls_error(error)
    if tls:
        return _insecure(tls, _host(error))
    if "HTTPError" in _kinds(error):
        return _unreachable(error)
    if "FileMetadataError" in _kinds(error):
        return not_a_hub(repo)
    return _disk(error)


def offline(repo: str) -> DownloadError:
    """For what is not on this machine while ``HF_HUB_OFFLINE`` is set."""
    return DownloadError(
        f"HF_HUB_OFFLINE is set, and {repo} is not complete on this machine",
        hint="unset HF_HUB_OFFLINE for the first download",
    )


def not_a_hub(repo: str) -> DownloadError:
    """For an answer that no Hub gives: a login page of a hotel, a wrong ``HF_ENDPOINT``."""
    return DownloadError(
        f"what {_endpoint()} answers about {repo} does not come from a Hub",
        hint="open it in a browser: a login page of the network? or is HF_ENDPOINT wrong?",
    )


def _insecure(error: ssl.SSLError, host: str) -> DownloadError:
    why = re.sub(r"^\[[^]]*\] | \(_ssl\.c:\d+\)", "", str(error.args[-1]))
    if "SSLCertVerificationError" in _kinds(error):
        hint = "if your network looks into TLS traffic: SSL_CERT_FILE=its certificate authority"
        return DownloadError(f"the TLS certificate of {host} is not to be trusted: {why}", hint=hint)
    return DownloadError(f"no TLS connection to {host}: {why}", hint="is HF_ENDPOINT right? http:// or https://?")


def _refused(error: Any, repo: str, what: str | None) -> DownloadError:
    kinds, status = _kinds(error), _status(error)
    if "GatedRepoError" in kinds:
        return _gated(repo)
    if "DisabledRepoError" in kinds:
        return DownloadError(f"{repo} has been disabled by the Hub or by its makers")
    if "RevisionNotFoundError" in kinds:
        return DownloadError(f"{repo} has no revision {what or ''}".rstrip(), hint=upgrade_command())
    if "EntryNotFoundError" in kinds:
        return DownloadError(f"{repo} has no file {what or ''}".rstrip(), hint=f"{_endpoint()}/{repo} shows its files")
    if status == 401 and "Invalid" in str(error.response.headers.get("X-Error-Message", "")):
        return DownloadError("the Hub does not accept your token", hint="set HF_TOKEN anew, or unset it")
    if status in (401, 404):
        return DownloadError(
            f"there is no repository {repo} at {_endpoint()}, or it is private",
            hint="check the spelling; a private one needs HF_TOKEN or `hf auth login`",
        )
    if status == 403:
        return DownloadError(f"the Hub forbids access to {repo}", hint="use a token that may read it: HF_TOKEN")
    if status == 429:
        return DownloadError("the Hub has had too many requests from here", hint="wait some minutes, or set HF_TOKEN")
    if status == 407:
        return _proxy("asks for a password")
    return DownloadError(f"the Hub has trouble: {_host(error)} answered with status {status}", hint=f"later: {_AGAIN}")


def _gated(repo: str) -> DownloadError:
    from huggingface_hub import get_token

    page = f"{_endpoint()}/{repo}"
    if get_token():
        why = f"{repo} is gated, and the account of your token has no access"
        return DownloadError(why, hint=f"accept its terms at {page} with that account")
    why = f"{repo} is gated: its makers want you to accept their terms"
    return DownloadError(why, hint=f"accept them at {page}, then set HF_TOKEN or run `hf auth login`")


def _unreachable(error: BaseException) -> DownloadError:
    kinds, host = _kinds(error), _host(error)
    if "ProxyError" in kinds:
        return _proxy(f"refused: {error}")
    if "TimeoutException" in kinds:
        hint = f"{_AGAIN}; HF_HUB_DOWNLOAD_TIMEOUT=60 waits longer"
        return DownloadError(f"{host} did not answer in time", hint=hint)
    if "TooManyRedirects" in kinds:
        return DownloadError(f"{host} redirects requests endlessly", hint="is HF_ENDPOINT right?")
    if "UnsupportedProtocol" in kinds:
        return DownloadError(f"HF_ENDPOINT is no address: {_endpoint()}", hint="HF_ENDPOINT=https://...")
    if _in_chain(error, gaierror):
        return DownloadError(f"the name {host} cannot be found", hint="is there a network? is HF_ENDPOINT right?")
    if "ConnectError" in kinds:
        if _proxy_url():
            return _proxy("cannot be reached")
        return DownloadError(f"no connection to {host}", hint="is there a network? is HF_ENDPOINT right?")
    return DownloadError(f"the connection to {host} broke off", hint=_AGAIN)


def _proxy(why: str) -> DownloadError:
    hint = "HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which proxy is used"
    return DownloadError(f"the proxy {_proxy_url() or ''} {why}".replace("  ", " "), hint=hint)


def _proxy_url() -> str | None:
    """The proxy for the Hub, without its password."""
    from urllib.request import getproxies, proxy_bypass

    address = urlsplit(_endpoint())
    url = getproxies().get(address.scheme) or getproxies().get("all")
    if not url or proxy_bypass(address.hostname or ""):
        return None
    return re.sub(r"//[^@/]*@", "//", url)


def _disk(error: BaseException) -> DownloadError:
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(
            f"the disk of {cache} is full", hint="free some space or set HF_HOME to another disk; what came is kept"
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DownloadError(f"{cache} cannot be written to", hint="HF_HOME names another folder")
    return DownloadError(f"download failed: {error}" if str(error) else f"download failed: {type(error).__name__}")


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: BaseException) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    import ssl

    found: ssl.SSLError | None = _in_chain(error, ssl.SSLError)
    return found


def _in_chain(error: BaseException | None, kind: type[BaseException]) -> Any:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _host(error: BaseException) -> str:
    # httpx raises where it has no request to tell
    try:
        host = error.request.url.host  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        host = None
    return str(host or urlsplit(_endpoint()).hostname or _endpoint())


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
