"""Promotion by hand: which trials a person wants trained to the whole budget, though others are the better half."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"(?P<arm>[A-Za-z0-9][A-Za-z0-9_-]{0,63}):(?P<number>[0-9]{1,7})")


class Promotion(NamedTuple):
    """A trial that a person wants trained to the whole budget.

    Attributes:
        arm: its arm.
        number: its number.
    """

    arm: str
    number: int

    def __str__(self) -> str:
        return f"{self.arm}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> Promotion:
        """Read ``ARM:NUMBER``.

        Raises:
            ValueError: it is of another form.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("an arm and the number of one of its trials, such as glow:5")
        return cls(found["arm"], int(found["number"]))
