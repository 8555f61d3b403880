"""Where the requests go, and what that server was found to understand."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from tcabench.errors import UsageError

KEY_OPTIONS = {"--reference": "--reference-key-env"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server. `base_url` ends in its version, e.g. `http://127.0.0.1:8000/v1`.

    `api_key` stays out of `repr`, and `redact` takes it out of anything a server sends back.
    """

    base_url: str
    model: str
    api: str
    timeout_s: float
    api_key: str | None = field(default=None, repr=False)
    sends_ignore_eos: bool = False
    sends_usage_option: bool = True

    def headers(self) -> dict[str, str]:
        """HTTP headers of every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def redact(self, text: str) -> str:
        """`text` without the API key: some servers quote it back in their error message."""
        return text.replace(self.api_key, "[api key]") if self.api_key else text

    def excerpt(self, text: str, length: int = 500) -> str:
        """The beginning of what a server said. The key goes first: cut through, it would not be found any more."""
        return self.redact(text)[:length]


def is_loopback(base_url: str) -> bool:
    """True if the server is on this machine, so that this machine's meters see it."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_url(base_url: str, option: str = "--endpoint") -> str:
    """`base_url` without a trailing slash. raises: UsageError, naming the `option`, for what is not an http(s) URL, or
    holds a secret."""
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and (parts.hostname or "").encode("idna") and parts.port != 0
    except ValueError:  # a bad IPv6 address, port or host name; UnicodeError is one too
        usable = False
    if not usable:
        raise UsageError(f"{option} {base_url!r} is not an http:// or https:// URL", "endpoint-url")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"{option} must not carry a user, password, query or fragment: the URL is written into the evidence. "
            f"Put the key into an environment variable and name it with {KEY_OPTIONS.get(option, '--api-key-env')}",
            "endpoint-url",
        )
    return base_url.rstrip("/")
