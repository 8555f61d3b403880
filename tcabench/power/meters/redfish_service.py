"""A Redfish service: its root, a session that renews itself, its resources and its clock (DMTF DSP0266 1.22)."""

import base64
import json
import logging
import re
import time
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address
from tcabench.power.meters.http_session import OPENING_S, Answer, HttpSession
from tcabench.power.meters.possible_time import is_possible
from tcabench.power.meters.redfish_schema import EPOCH, Resource, at, stamp_ns, stamp_resolution_ns, type_of
from tcabench.records import ClockReading
from tcabench.units import NS_PER_S

LOG = logging.getLogger("tcabench.power")
ROOT = "/redfish/v1/"
SESSIONS = "/redfish/v1/SessionService/Sessions"
REFUSED_S = 60.0  # a login that was refused is left alone for so long: trying on would lock the account
HEADERS = {"OData-Version": "4.0", "Accept": "application/json"}


class RedfishService:
    """The service at `address`, with the options `user`, `password_env|_file` and `session=on|basic`."""

    def __init__(self, address: Address, http: HttpSession) -> None:
        """raises: UsageError for a user without a password, or the other way round."""
        self.http = http
        self.root: Resource = {}
        self._user, self._password = address.option("user"), address.secret("password")
        self._basic = address.choice("session", "on", ("on", "basic")) == "basic"
        if bool(self._user) != (self._password is not None):
            raise UsageError(
                "redfish: user=NAME and password_env=VARIABLE (or password_file=FILE) go together", "meter-secret"
            )
        self._token, self._session, self._refused_at = "", "", -REFUSED_S
        self._clock_uri = ""

    def open(self) -> None:
        """Read the service root, which needs no login, and log in. raises: MeterError."""
        answer = self.http.get(ROOT, HEADERS, OPENING_S)
        root = answer.json() if answer.status == 200 else None
        if not isinstance(root, Mapping) or type_of(root) != "ServiceRoot":
            raise MeterError(
                f"{self.http.where} answers, but {ROOT} is no Redfish service root (HTTP {answer.status}). Is it the "
                "right host and port?",
                "meter-protocol",
            )
        self.root = root
        if self._user and not self._basic:
            self._login()

    def get(self, uri: str, timeout_s: float = 0.0) -> Resource:
        """The resource at `uri`, a path on this host. After a 401 the session is renewed once.

        raises: MeterError of kind meter-auth, meter-map (there is no such resource), meter-read or meter-protocol.
        """
        answer = self.http.get(uri, self._headers(), timeout_s)
        if answer.status == 401 and self._user and not self._basic:
            self._login()
            answer = self.http.get(uri, self._headers(), timeout_s)
        if answer.status != 200:
            raise self._refusal(answer, uri)
        resource = answer.json()
        if not isinstance(resource, Mapping):
            raise MeterError(f"{answer.where} is no Redfish resource: it is no JSON object", "meter-protocol")
        return resource

    def members(self, uri: str) -> tuple[str, ...]:
        """The URIs in the collection at `uri`. raises: MeterError."""
        listed = self.get(uri, OPENING_S).get("Members")
        found = [at(one, ("@odata.id",)) for one in listed] if isinstance(listed, list) else []
        return tuple(uri for uri in found if isinstance(uri, str))

    def find_clock(self) -> str:
        """Which clock `time` reads, in words: a Manager's DateTime, else the Date header. raises: MeterError."""
        provider = at(self.root, ("Links", "ManagerProvidingService", "@odata.id"))
        managers = at(self.root, ("Managers", "@odata.id"))
        uris = (provider,) if provider else self.members(managers) if managers else ()
        for uri in uris:
            if stamp_ns(self.get(uri, OPENING_S).get("DateTime")) is not None:
                self._clock_uri = uri
                return f"DateTime of {uri}"
        self.time()
        return "the Date header of HTTP, in whole seconds"

    def time(self) -> ClockReading:
        """The service's present time by the clock that `find_clock` found. raises: MeterError."""
        if self._clock_uri:
            text = self.get(self._clock_uri).get("DateTime")
            if (now_ns := stamp_ns(text)) is None:
                raise MeterError(f"{self.http.where}{self._clock_uri} has no DateTime any more", "meter-protocol")
            return ClockReading(now_ns, stamp_resolution_ns(str(text)))
        text = self.http.get(ROOT, HEADERS).headers.get("Date", "")
        try:
            moment = parsedate_to_datetime(text)
            now_ns = (moment - EPOCH) // timedelta(seconds=1) * NS_PER_S
            if not is_possible(now_ns):
                raise ValueError("no time of our day")
            return ClockReading(now_ns, NS_PER_S)
        except (TypeError, ValueError) as err:  # no zone given, no date at all, or none that can be
            raise MeterError(f"{self.http.where} tells no time: its Date header is {text!r}", "meter-protocol") from err

    def security(self) -> str:
        """How the connection and the login are kept safe, without secrets."""
        if not self._user:
            return f"{self.http.security()}; no login"
        return f"{self.http.security()}; {'HTTP basic login' if self._basic else 'Redfish session'}"

    def close(self) -> None:
        """Log out, so that no session is left behind on a device that has few; then let the connection go."""
        token, session, self._token, self._session = self._token, self._session, "", ""
        try:
            if session:
                answer = self.http.request("DELETE", session, {**HEADERS, "X-Auth-Token": token}, None, OPENING_S)
                if answer.status not in (200, 202, 204, 401, 404):  # the last two: it had ended by itself
                    LOG.info("%s%s was not logged out: HTTP %d", self.http.where, session, answer.status)
        except MeterError as err:
            LOG.info("not logged out, the session will end by itself: %s", err)
        finally:
            self.http.close()

    def _headers(self) -> dict[str, str]:
        if self._token:
            return {**HEADERS, "X-Auth-Token": self._token}
        if self._basic and self._password is not None:
            pair = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            return {**HEADERS, "Authorization": f"Basic {pair}"}
        return HEADERS

    def _login(self) -> None:
        """DSP0266 13.3.4: POST to the sessions collection, X-Auth-Token and Location come back."""
        if time.monotonic() < self._refused_at + REFUSED_S:
            raise self._auth("refused the login a moment ago; it is not tried again yet, lest the account is locked")
        uri = str(at(self.root, ("Links", "Sessions", "@odata.id")) or SESSIONS)
        body = json.dumps({"UserName": self._user, "Password": self._password}).encode()
        self._token = self._session = ""
        answer = self.http.request("POST", uri, {**HEADERS, "Content-Type": "application/json"}, body, OPENING_S)
        token, location = answer.headers.get("X-Auth-Token"), answer.headers.get("Location", "")
        if answer.status in (400, 401, 403):
            self._refused_at = time.monotonic()
            raise self._auth(f"refuses user {self._user!r} (HTTP {answer.status}). Check the name and the password")
        if answer.status not in (200, 201) or not token:
            raise self._auth(
                f"gives no session (HTTP {answer.status}). Too many may be open; session=basic does without one"
            )
        self._token, self._session = token, re.sub("^https?://[^/]*", "", location)

    def _auth(self, why: str) -> MeterError:
        return MeterError(f"{self.http.where} {why}", "meter-auth")

    def _refusal(self, answer: Answer, uri: str) -> MeterError:
        if answer.status == 401:
            return self._auth(
                f"refuses user {self._user!r}" if self._user else "wants a login: user= and password_env="
            )
        if answer.status == 403:
            return self._auth(f"does not let user {self._user!r} read {uri}. Give that user the role ReadOnly")
        if answer.status == 404:
            return MeterError(f"{self.http.where} has no {uri}. Look what there is with a browser", "meter-map")
        return MeterError(f"{self.http.where}{uri} cannot be read: HTTP {answer.status}", "meter-read")
