"""Takes out of a prompt what tells who somebody is, before it is kept.

Patterns find shapes, not meanings: names and addresses in plain words stay. docs/security.md
says so.
"""

from __future__ import annotations

import re

from gateway.secret_words import without_secrets

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IP = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"\b[3-6](?:[ -]?\d){12,18}\b")
_PHONE = re.compile(r"(?<![\w.])\+\d[\d ()./-]{7,20}\d\b|\(\d{3}\) ?\d{3}-\d{4}\b")


def redacted(text: str) -> str:
    """The text with a word in angle brackets for each thing that was taken out."""
    text = without_secrets(text)
    text = _EMAIL.sub("<email>", text)
    text = _IP.sub("<ip>", text)
    text = _IBAN.sub("<account>", text)
    text = _CARD.sub(_card, text)
    return _PHONE.sub("<phone>", text)


def _card(found: re.Match[str]) -> str:
    """Only numbers that carry a card's check digit (Luhn): of ten long sums nine stay."""
    digits = [int(letter) for letter in found[0] if letter.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return "<card>" if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else found[0]
