"""PKCE, RFC 7636: what proves that who brings a code is who asked for it."""

import base64
import hashlib
import re

PKCE = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def challenge_of(verifier: str) -> str:
    """The S256 challenge of RFC 7636."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
