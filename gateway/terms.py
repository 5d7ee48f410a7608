"""What an app code allows: the words of [codes.NAME], of POST /codes and of the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
SHORT = {"s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day"}
RATE = re.compile(r"([0-9]{1,12}) ?/ ?([a-z]{1,8})")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in any window of so many seconds."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """ "100/hour" -> Rate(100, 3600). Raises ValueError."""
        match = RATE.fullmatch(text.strip().lower())
        unit = match[2].removesuffix("s") or match[2] if match else ""
        seconds = UNITS.get(SHORT.get(unit, unit))
        if match is None or seconds is None or int(match[1]) < 1:
            raise ValueError('must be a number of at least 1 and a unit, as "100/hour"')
        return cls(int(match[1]), seconds)


def _rate(text: str) -> str:
    Rate.parse(text)
    return text.strip().lower()


def _printable(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must have printable characters only")
    return text


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


RateText = Annotated[str, Field(max_length=40), AfterValidator(_rate)]
Word = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Words = Annotated[tuple[Word, ...], Field(max_length=200)]
# Nine decimals: the unit of account is a billionth (see gateway.accounts.meter).
Money = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=9)]
Tokens = Annotated[int, Field(ge=0, le=10**15)]


class Terms(BaseModel):
    """Absent means: not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Word
    allowed_request_types: Words = ()
    rate_limit: RateText | None = None
    """Requests, as "100/hour"."""
    token_limit: RateText | None = None
    """Tokens in and out, as "20000/minute"."""
    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    """Longest answer; a request that asks for more gets this."""
    models: Words = ()
    """Patterns of names that may be asked, as "openai/*" or "auto"."""
    priority: int = Field(default=0, ge=-100, le=100)
    concurrency: int | None = Field(default=None, ge=1, le=100_000)
    budget_day: Money | None = None
    """In the currency of the prices, as budget_month."""
    budget_month: Money | None = None
    tokens_day: Tokens | None = None
    tokens_month: Tokens | None = None
    expires: Annotated[datetime, AfterValidator(_in_utc)] | None = None


class SeedTerms(Terms):
    """[codes.NAME] of the settings. Without `code` and `hash` the NAME itself is the code."""

    name: Word | None = None  # type: ignore[assignment]
    code: str = Field(default="", max_length=500)
    hash: str = Field(default="", pattern=r"^(sha256:)?([0-9a-fA-F]{64})?$")
    """SHA-256 of the code, in hex."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.code and self.hash:
            raise ValueError("has a code and a hash; one of them is enough")
        return self

    def terms(self, name: str) -> Terms:
        """`name`: where it stands in the settings."""
        given = self.model_dump(exclude={"code", "hash"})
        return Terms(**{**given, "name": self.name or name})
