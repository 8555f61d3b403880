"""Which SNMP version and whose secrets, from the options of a meter's address, and what that is worth in words."""

from tcabench.errors import UsageError
from tcabench.power.address import Address
from tcabench.power.meters.snmp_client import CommunityTalk, Talk
from tcabench.power.meters.snmp_keys import CIPHERS, DIGESTS, User
from tcabench.power.meters.snmp_usm import UsmTalk

OPTIONS = (
    "version", "community_env", "community_file", "user", "auth", "auth_env", "auth_file", "priv", "priv_env",
    "priv_file", "context",
)  # fmt: skip
DEFAULT_COMMUNITY = "public"
OUTDATED = ("md5", "sha1")
ONLY_V3 = ("user", "auth", "auth_env", "auth_file", "priv", "priv_env", "priv_file", "context")
ONLY_V2C = ("community_env", "community_file")


def opened_talk(address: Address) -> Talk:
    """How to talk to the device. raises: UsageError for options that do not go together, or secrets out of reach."""
    if version(address) == "3":
        return UsmTalk(_user(address), address.option("context"))
    return CommunityTalk(address.secret("community") or DEFAULT_COMMUNITY)


def version(address: Address) -> str:
    """ "2c" or "3": what the address says, else 3 where it names a user. raises: UsageError."""
    chosen = address.choice("version", "3" if "user" in address.options else "2c", ("2c", "3"))
    for name in ONLY_V2C if chosen == "3" else ONLY_V3:
        if name in address.options:
            raise UsageError(f"snmp: {name} has no meaning in version {chosen}", "meter-argument")
    return chosen


def security(address: Address) -> str:
    """What the answers are worth against somebody on the network who lies or listens."""
    if version(address) == "2c":
        which = "" if "community_env" in address.options or "community_file" in address.options else ' "public"'
        return f"none: SNMPv2c sends its community{which} and all values in plain text, and anybody may have answered"
    auth, priv = address.option("auth"), address.option("priv")
    if not auth:
        return "none: SNMPv3 noAuthNoPriv, anybody may have answered"
    words = DIGESTS[auth].words + (" (outdated)" if auth in OUTDATED else "")
    if not priv:
        return f"SNMPv3 authNoPriv {words}: values are genuine, and readable on the network"
    return f"SNMPv3 authPriv {words} {CIPHERS[priv][0]}"


def silence(address: Address) -> str:
    """What to look for when the device does not answer at all."""
    if version(address) == "2c":
        return (
            "A device that is off, a wrong community and an access list without this machine look the same in SNMPv2c: "
            "check that the device is up, that SNMP v2c is switched on in it, the community (community_env or "
            'community_file; "public" when neither is given), its access list and any firewall (UDP)'
        )
    return (
        "Is it up, is SNMP v3 switched on in it, does its access list or a firewall (UDP) keep this machine out? A "
        "wrong user or auth secret would have been reported; some devices stay silent at a wrong priv secret"
    )


def _user(address: Address) -> User:
    if not (name := address.option("user")):
        raise UsageError("snmp: version 3 needs user=NAME", "meter-argument")
    auth = _algorithm(address, "auth", tuple(DIGESTS))
    priv = _algorithm(address, "priv", tuple(CIPHERS))
    if priv and not auth:
        raise UsageError("snmp: priv= needs auth= as well (RFC 3414: no encryption without a digest)", "meter-argument")
    return User(name, auth, _secret(address, "auth"), priv, _secret(address, "priv"))


def _algorithm(address: Address, name: str, known: tuple[str, ...]) -> str:
    """The name of the digest or cipher; "" for none. It comes with its secret, or not at all."""
    has_secret = bool({f"{name}_env", f"{name}_file"} & address.options.keys())
    if name not in address.options:
        if has_secret:
            raise UsageError(f"snmp: {name}_env or {name}_file is given, {name}= is not: one of {', '.join(known)}",
                             "meter-argument")  # fmt: skip
        return ""
    if not has_secret:
        raise UsageError(f"snmp: {name}= needs its secret: {name}_env=VARIABLE or {name}_file=FILE", "meter-secret")
    return address.choice(name, "", known)


def _secret(address: Address, name: str) -> str:
    secret = address.secret(name)
    if secret == "":
        raise UsageError(f"snmp: {name}_file={address.option(f'{name}_file')}: the file is empty", "meter-secret")
    return secret or ""
