"""Which SNMP version and whose secrets, from the options of a meter's address, and what that is worth in words."""

from typing import Any

from tcabench.errors import UsageError
from tcabench.power.address import Address
from tcabench.power.meters.snmp_answer import Client
from tcabench.power.meters.snmp_plain import PlainClient
from tcabench.power.meters.snmp_usm import Login, UsmClient

OPTIONS = (
    "version", "community_env", "community_file", "user", "auth", "auth_env", "auth_file", "priv", "priv_env",
    "priv_file", "context",
)  # fmt: skip
DIGESTS = {
    "md5": ("MD5", "USM_AUTH_HMAC96_MD5"), "sha1": ("SHA-1", "USM_AUTH_HMAC96_SHA"),  # RFC 3414
    "sha224": ("SHA-224", "USM_AUTH_HMAC128_SHA224"), "sha256": ("SHA-256", "USM_AUTH_HMAC192_SHA256"),  # RFC 7860
    "sha384": ("SHA-384", "USM_AUTH_HMAC256_SHA384"), "sha512": ("SHA-512", "USM_AUTH_HMAC384_SHA512"),
}  # fmt: skip
CIPHERS = {
    "aes128": ("AES-128", "USM_PRIV_CFB128_AES"),  # RFC 3826
    "aes192": ("AES-192", "USM_PRIV_CFB192_AES_BLUMENTHAL"),  # draft-blumenthal-aes-usm-04, as Net-SNMP has it
    "aes256": ("AES-256", "USM_PRIV_CFB256_AES_BLUMENTHAL"),
    "aes192c": ("AES-192 (key as in 3DES)", "USM_PRIV_CFB192_AES"),  # draft-reeder-snmpv3-usm-3desede-00, as Cisco
    "aes256c": ("AES-256 (key as in 3DES)", "USM_PRIV_CFB256_AES"),
}
"""In words, and as pysnmp calls them. The two ways to stretch a digest that is shorter than the key differ."""

DEFAULT_COMMUNITY = "public"
OUTDATED = ("md5", "sha1")
ONLY_V3 = ("user", "auth", "auth_env", "auth_file", "priv", "priv_env", "priv_file", "context")
ONLY_V2C = ("community_env", "community_file")


def opened_client(address: Address) -> Client:
    """Who asks the device. raises: UsageError for options that do not go together, or secrets out of reach."""
    if version(address) == "3":
        login = Login(_user(address), address.option("context"))
        return UsmClient(address.host, address.port, login, silence(address))
    community = address.secret("community") or DEFAULT_COMMUNITY
    return PlainClient(address.host, address.port, community.encode(), silence(address))


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
    words = DIGESTS[auth][0] + (" (outdated)" if auth in OUTDATED else "")
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


def _user(address: Address) -> Any:
    """pysnmp's UsmUserData."""
    if not (name := address.option("user")):
        raise UsageError("snmp: version 3 needs user=NAME", "meter-argument")
    auth = _algorithm(address, "auth", tuple(DIGESTS))
    priv = _algorithm(address, "priv", tuple(CIPHERS))
    if priv and not auth:
        raise UsageError("snmp: priv= needs auth= as well (RFC 3414: no encryption without a digest)", "meter-argument")
    auth_key, priv_key = (_secret(address, one) or None for one in ("auth", "priv"))
    from pysnmp.hlapi.v3arch import asyncio as pysnmp

    digest = getattr(pysnmp, DIGESTS[auth][1]) if auth else None
    cipher = getattr(pysnmp, CIPHERS[priv][1]) if priv else None
    return pysnmp.UsmUserData(name.encode(), auth_key, priv_key, digest, cipher)


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


def _secret(address: Address, name: str) -> bytes:
    secret = address.secret(name)
    if secret == "":
        raise UsageError(f"snmp: {name}_file={address.option(f'{name}_file')}: the file is empty", "meter-secret")
    return (secret or "").encode()
