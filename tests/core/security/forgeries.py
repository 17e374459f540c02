"""The catalogue of forged tokens: each as a good one but for its one flaw. What verifies tokens must refuse every one of them."""

import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from app.core.resilience import ManualClock
from app.core.security import TokenKey, TokenService
from tests.core.security.forge import (
    AUDIENCE,
    ISSUER,
    KID,
    NOW,
    SECRET,
    b64,
    good_claims,
    good_header,
    sign,
    sign_raw,
)

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_PUBLIC = RSA_KEY.public_key()
RSA_PUBLIC_PEM = RSA_PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
RSA_PRIVATE_PEM = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _jwk(key: rsa.RSAPublicKey) -> bytes:
    numbers = key.public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    return json.dumps(
        {"kty": "RSA", "n": b64(numbers.n.to_bytes(size, "big")), "e": b64(numbers.e.to_bytes(3, "big"))}
    ).encode()


PUBLIC_KEY_DOCUMENTS = {
    "pem": RSA_PUBLIC_PEM,
    "pkcs1_pem": RSA_PUBLIC.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "der": RSA_PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "pkcs1_der": RSA_PUBLIC.public_bytes(Encoding.DER, PublicFormat.PKCS1),
    "jwk": _jwk(RSA_PUBLIC),
    "jwks": b'{"keys": [' + _jwk(RSA_PUBLIC) + b"]}",
    "ssh": RSA_PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
}


@cache
def token_service() -> TokenService:
    """Ours, with a secret and an RSA key, at the time of the catalogue."""
    keys = (TokenKey(KID, "HS256", SECRET.encode()), TokenKey("rsa", "RS256", RSA_PUBLIC_PEM))
    return TokenService(keys, issuer=ISSUER, audience=AUDIENCE, clock=ManualClock(start=NOW + 1))


@cache
def forged_tokens() -> dict[str, str]:
    """Every forged token by what is wrong with it; made once, because a signature takes a few microseconds."""
    return {
        **_unsigned(),
        **_confused(),
        **_headers(),
        **_claims(),
        **_doubled(),
        **_shapes(),
    }


def _unsigned() -> dict[str, str]:
    """No signature, under every spelling of none."""
    found = {}
    for alg in ("none", "None", "NONE", "nOnE", "NoNe", "none ", " none", "none\0", "", "null", "NULL"):
        head, claims, mac = sign(header={"alg": alg}).split(".")
        found[f"alg {alg!r} signed"] = f"{head}.{claims}.{mac}"
        found[f"alg {alg!r} empty"] = f"{head}.{claims}."
        found[f"alg {alg!r} two parts"] = f"{head}.{claims}"
    head, claims, _ = sign().split(".")
    found["signature empty"] = f"{head}.{claims}."
    found["signature absent"] = f"{head}.{claims}"
    found["signature of zeros"] = f"{head}.{claims}.{b64(bytes(32))}"
    found["signature of one byte"] = f"{head}.{claims}.{b64(b'0')}"
    return found


def _confused() -> dict[str, str]:
    """An algorithm that is not the key's, or a key that is public."""
    found = {}
    for name, document in PUBLIC_KEY_DOCUMENTS.items():
        for ending in (b"", b"\n"):
            for alg in ("HS256", "RS256"):
                header = {"alg": alg, "kid": "rsa"}
                found[f"{alg} with our RSA key as {name}{ending!r}"] = sign(
                    header=header, key=document.rstrip(b"\n") + ending
                )
    for alg in ("RS256", "ES256", "PS256", "EdDSA", "HS384", "HS512", "dir", "hs256", "HS256 ", "A256GCM"):
        found[f"alg {alg}"] = sign(header={"alg": alg})
    for size in (384, 512):
        head = b64(json.dumps({**good_header(), "alg": f"HS{size}"}).encode())
        signed = f"{head}.{b64(json.dumps(good_claims()).encode())}"
        mac = hmac.digest(SECRET.encode(), signed.encode(), f"sha{size}")
        found[f"HS{size} of our secret"] = f"{signed}.{b64(mac)}"
    for name, key in {"empty": b"", "public id": KID.encode(), "cut": SECRET[:-1].encode()}.items():
        found[f"key {name}"] = sign(key=key)
    return found


def _headers() -> dict[str, str]:
    """Fields of the header that ask the reader to trust somebody else, or to look somewhere else."""
    jwk = {"kty": "oct", "k": b64(b"k" * 32)}
    asked: dict[str, Any] = {
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/cert.pem",
        "x5c": ["MIIB"],
        "x5t": "abc",
        "x5t#S256": "abc",
        "crit": ["exp"],
        "zip": "DEF",
        "b64": False,
        "cty": "JWT",
        "enc": "A256GCM",
        "url": "https://evil.example",
        "nonce": "1",
    }
    found = {f"header {name}": sign(header={name: value}) for name, value in asked.items()}
    found["header jwk, signed by it"] = sign(header={"jwk": jwk}, key=b"k" * 32)
    found["header crit of an unknown"] = sign(header={"crit": ["x"], "x": 1})
    kids = ["other", "", "MAIN", " main", "main\0", "../../../../dev/null", "/proc/self/environ", "x' UNION SELECT 'k",
            "main' OR '1'='1", "https://evil.example/key", "main/../main", "%6dain", "main;main", "$(id)", "{{7*7}}"]  # fmt: skip
    found |= {f"kid {kid!r}": sign(header={"kid": kid}) for kid in kids}
    found["kid /dev/null, signed with nothing"] = sign(header={"kid": "../../../../dev/null"}, key=b"")
    found |= {f"kid {kid!r}": sign(header={"kid": kid}) for kid in (None, 0, True, ["main"], {"main": 1})}
    types = (
        None,
        "JWT",
        "jwt",
        "rt+jwt",
        "refresh",
        "id_token",
        "secevent+jwt",
        "dpop+jwt",
        "AT+JWT",
        "application/at+jwt",
        1,
    )
    return found | {f"typ {typ!r}": sign(header={"typ": typ}) for typ in types}


def _claims() -> dict[str, str]:
    """Good signatures over what we never say."""
    found = {f"no {name}": sign(claims={name: None}) for name in good_claims()}
    dates: list[Any] = [True, -1, 0, 10**30, float(NOW + 60), 1e300, str(NOW + 60), [NOW], {}]
    for name in ("exp", "iat", "nbf"):
        for value in dates:
            found[f"{name} {value!r}"] = sign(claims={name: value})
    found["expired"] = sign(claims={"iat": NOW - 900, "iat_ms": (NOW - 900) * 1000, "exp": NOW + 1})
    found["from the future"] = sign(claims={"iat": NOW + 99, "iat_ms": (NOW + 99) * 1000})
    found["not yet"] = sign(claims={"nbf": NOW + 99})
    found["for a year"] = sign(claims={"exp": NOW + 31_536_000})
    for aud in (
        "",
        "other",
        AUDIENCE + "x",
        AUDIENCE.upper(),
        [],
        ["other"],
        [AUDIENCE, 1],
        [[AUDIENCE]],
        {AUDIENCE: 1},
        1,
    ):
        found[f"aud {aud!r}"] = sign(claims={"aud": aud})
    for iss in ("", ISSUER + "/", ISSUER.upper(), [ISSUER], 1):
        found[f"iss {iss!r}"] = sign(claims={"iss": iss})
    found["same kid of another issuer"] = sign(claims={"iss": "https://other.example"}, key=b"o" * 40)
    found["our key, another issuer"] = sign(claims={"iss": "https://other.example"})
    for sub in ("", " ", "a\0b", "a b", "é", "x" * 256, 1, True, ["user-1"], {"id": "user-1"}):
        found[f"sub {sub!r}"] = sign(claims={"sub": sub})
    found["ID token"] = sign(
        header={"typ": "JWT"}, claims={"nonce": "n", "at_hash": "h", "azp": "web", "scope": None, "jti": None}
    )
    found["refresh token as a JWT"] = sign(
        header={"typ": "rt+jwt"}, claims={"scope": None, "token_use": "refresh"}
    )
    found["refresh token"] = "rt_" + b64(bytes(range(32)))
    found["API key"] = "sk_u_0123456789abcdef_" + b64(bytes(range(32)))
    return found


def _doubled() -> dict[str, str]:
    """Two members of one name: readers disagree about which counts."""
    header, claims = json.dumps(good_header()), json.dumps(good_claims())
    found = {}
    for name in ("alg", "kid", "typ"):
        twice = f'{header[:-1]}, "{name}": {json.dumps(good_header()[name])}}}'
        found[f"two {name}"] = sign_raw(twice.encode(), claims.encode())
    for name in ("sub", "exp", "aud", "iss", "scope", "roles"):
        twice = f'{claims[:-1]}, "{name}": {json.dumps(good_claims()[name])}}}'
        found[f"two {name}"] = sign_raw(header.encode(), twice.encode())
    found["two sub, one escaped"] = sign_raw(
        header.encode(), (claims[:-1] + ', "\\u0073ub": "admin"}').encode()
    )
    found["two alg, one escaped"] = sign_raw(
        (header[:-1] + ', "\\u0061lg": "none"}').encode(), claims.encode()
    )
    return found


def _shapes() -> dict[str, str]:
    """Texts that are no compact token, or not the one spelling of it."""
    good = sign()
    head, claims, mac = good.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    found = {
        "one bit spelled otherwise": good[:-1] + last[last.index(good[-1]) + 1],
        "padded": good + "=",
        "base64 of the other alphabet": ".".join(
            b64encode(part).decode() for part in (b"\xfb\xff\xfe", b"\xfb\xff\xfe", b"\xfb\xff\xfe")
        ),
        "cut by one": good[:-1],
        "cut by half": good[: len(good) // 2],
        "four parts": good + ".extra",
        "five parts": f"{head}.{claims}.{mac}.{mac}.{mac}",
        "nested JWE": ".".join(
            [
                b64(b'{"alg":"dir","enc":"A256GCM","cty":"JWT"}'),
                "",
                b64(bytes(12)),
                b64(good.encode()),
                b64(bytes(16)),
            ]
        ),
        "JSON serialization": json.dumps({"protected": head, "payload": claims, "signature": mac}),
        "a token in a token": sign_raw(json.dumps(good_header()).encode(), good.encode()),
        "space before a part": good.replace(".", ". ", 1),
        "space inside": f"{head[:5]} {head[5:]}.{claims}.{mac}",
        "tab inside": f"{head[:5]}\t{head[5:]}.{claims}.{mac}",
        "letter of another alphabet": good + "é",
        "fullwidth dots": good.replace(".", "\uff0e"),
        "zero": "0",
        "null": "null",
        "dots": "..",
        "another's signature": ".".join([head, sign(claims={"sub": "admin"}).split(".")[1], mac]),
        "claims of megabytes": sign(claims={"padding": "x" * 8192}),
        "a long text": "A" * 9000,
        "parts swapped": f"{claims}.{head}.{mac}",
        "claims standard base64": f"{head}.{urlsafe_b64encode(json.dumps(good_claims()).encode() + b'  ').decode()}.{mac}",
    }
    data = {
        "a list": b"[]", "a number": b"1", "a text": b'"text"', "null": b"null", "cut": b"{", "nothing": b"{}",
        "not UTF-8": b"\xff\xfe{}", "a BOM": b"\xef\xbb\xbf{}", "UTF-16": '{"a":1}'.encode("utf-16"), "NaN": b'{"exp": NaN}',
        "infinite": b'{"exp": -Infinity}', "a huge number": b'{"exp": 1' + b"0" * 5000 + b"}", "deep lists": b"[" * 5000,
        "deep objects": b'{"a":' * 1000, "two documents": b"{}{}", "a comment": b"{/* */}", "single quotes": b"{'exp': 1}",
    }  # fmt: skip
    for name, part in data.items():
        found[f"header is {name}"] = sign_raw(part, json.dumps(good_claims()).encode())
        found[f"claims are {name}"] = sign_raw(json.dumps(good_header()).encode(), part)
    return found
