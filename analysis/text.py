"""Numbers in words: no more digits than they deserve."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SHORTEST = 0.5  # seconds that are told as such
_FAR = 100.0  # times from which on two digits tell all that is known
_PLACES = 6  # of decimals, at most
_BEYOND = 1e9  # times that are told as more than so many: an interval with such an end says nothing of it

NEVER_RUN = "this very configuration was never run on fresh seeds"
"""The note on a recommendation without runs."""
OTHER_SEARCH = "the winner of another search"
"""How the note begins on a recommendation that is not of the search with the best trial."""


def format_value(value: float | None) -> str:
    """Return a metric with four significant digits, more near 1; a dash where there is none.

    >>> format_value(0.912345), format_value(0.99996), format_value(None)
    ('0.9123', '0.99996', '–')
    """
    return "–" if value is None or math.isnan(value) else _digits(value, 4)


def _digits(value: float, digits: int) -> str:
    """Return a number with so many digits, or as many as it takes to tell it from 1 (and -1), which it may not reach.

    >>> [_digits(value, 4) for value in (0.99999, 1.00001, 1.0, 12345.6)]
    ['0.99999', '1.00001', '1', '1.235e+04']
    """
    texts = (f"{value:.{more}g}" for more in range(digits, 18))
    return next(text for text in texts if abs(value) == 1 or abs(float(text)) != 1)


def format_duration(seconds: float | None) -> str:
    """Return seconds as ``under 1 s``, ``42 s``, ``3 min 05 s`` or ``2 h 10 min``; a dash for ``None``."""
    if seconds is None:
        return "–"
    if 0 < seconds <= _SHORTEST:
        return "under 1 s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def in_short(seconds: float) -> str:
    """Return a duration that somebody gave.

    >>> in_short(7200), in_short(600), in_short(90), in_short(1.5)
    ('2 h', '10 min', '1 min 30 s', '1.5 s')
    """
    if seconds < 60:
        return f"{seconds:g} s"
    return format_duration(seconds).removesuffix(" 00 s").removesuffix(" 00 min")


def about(seconds: float) -> str:
    """Return a duration that is not known exactly.

    >>> about(0.2), about(0.5), about(42)
    ('under 1 s', 'under 1 s', 'about 42 s')
    """
    return format_duration(seconds) if 0 < seconds <= _SHORTEST else f"about {format_duration(seconds)}"


def format_params(params: Mapping[str, object]) -> str:
    """Return a configuration on one line, numbers with four significant digits.

    >>> format_params({"lr": 0.0123456, "batch_size": 64})
    'lr=0.01235, batch_size=64'
    """
    return ", ".join(f"{k}={_digits(v, 4) if isinstance(v, float) else v}" for k, v in params.items())


def outcomes(counts: Mapping[str, int], names: Iterable[str]) -> str:
    """Return how many trials ended in which way, those ways alone that there were.

    >>> outcomes({"complete": 3, "failed": 0, "pruned": 1}, ("complete", "pruned", "failed"))
    '3 complete, 1 pruned'
    """
    return ", ".join(f"{counts[name]} {name}" for name in names if counts.get(name))


def number(value: float) -> str:
    """Return a number with at most four digits, more near 1; ∞ for infinite ones.

    >>> number(0.912345), number(0.99999), number(-math.inf), number(math.nan)
    ('0.9123', '0.99999', '-∞', 'not known')
    """
    if math.isnan(value):
        return "not known"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return _digits(value, 4)


def short(value: object) -> str:
    """Return a value with three digits, or as many as it takes to tell it from 1.

    >>> [short(value) for value in (0.1234, 0.9999, 64)]
    ['0.123', '0.9999', '64']
    """
    return _digits(value, 3) if isinstance(value, float) else str(value)


def cell(value: object) -> str:
    """Return a value as a table shows it, with as many digits as a reader needs.

    >>> [cell(v) for v in (0.123456, 12345.678, 64, None, float("nan"), "relu", True)]
    ['0.123', '12346', '64', '–', '–', 'relu', 'yes']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {short(entry)}" for name, entry in value.items())
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else _digits(value, 3)
    return str(value)


def estimate(value: float, low: float, high: float, apart: float = 0.0) -> str:
    """Return an estimate with its interval, to two digits of the interval's width, more where an end would read as 0.

    So it is with ``apart`` in place of 0: the number that says that there is no difference.

    >>> estimate(0.91234, 0.9101, 0.9146), estimate(0.5, math.nan, math.nan), estimate(2.0, 1.5, math.inf)
    ('0.9123 [0.9101, 0.9146]', '0.5', '2 [1.5, ∞]')
    >>> estimate(0.1, 0.0004, 0.2), estimate(31534.0, 21000.0, 47000.0)
    ('0.1000 [0.0004, 0.2000]', '32000 [21000, 47000]')
    >>> estimate(7.7e-5, 2.4e-9, 2.4)
    '7.7e-05 [2.4e-09, 2.4]'
    """
    if math.isnan(low) or math.isnan(high):
        return number(value)
    width = high - low
    if not (math.isfinite(width) and math.isfinite(value)) or width <= 0:
        return f"{number(value)} [{number(low)}, {number(high)}]"
    size = max(abs(value), abs(low), abs(high))
    if size >= 1e6 or size < 1e-4:
        return f"{value:.3g} [{low:.3g}, {high:.3g}]"
    digits = 1 - math.floor(math.log10(width))
    nearest = min((abs(end - apart) for end in (low, high) if end != apart), default=1.0)
    if 0 < nearest < 0.5 * 10**-digits:
        digits = -math.floor(math.log10(nearest))
        if digits > _PLACES:
            return f"{value:.3g} [{low:.3g}, {high:.3g}]"
    told, first, last = (f"{round(each, digits):.{max(0, digits)}f}" for each in (value, low, high))
    return f"{told} [{first}, {last}]"


def times(value: float, low: float, high: float) -> str:
    """Return how many times with its interval; where that goes far, two digits of each, for they are known no better.

    >>> times(4.0, 2.0, 8.0), times(315343.0, 12.4, math.inf)
    ('4.0 [2.0, 8.0]', '3.2e5 [12, over 1e9]')
    >>> times(160.0, 1.6e-246, 1.7e250)
    '160 [under 1e-9, over 1e9]'
    >>> times(1.5, 1.004, 2.2), times(300.0, 1.004, 9e4)
    ('1.500 [1.004, 2.200]', '300 [1.004, 9e4]')
    """
    ends = [each for each in (value, low, high) if math.isfinite(each)]
    if math.isnan(low) or math.isnan(high) or (min(ends) > 1 / _FAR and max(ends) < _FAR):
        return estimate(value, low, high, apart=1.0)
    told, first, last = map(two_digits, (value, low, high))
    return f"{told} [{first}, {last}]"


def two_digits(value: float) -> str:
    """Return a positive number with two digits, which are all that is known of it.

    >>> two_digits(0.02134), two_digits(315343.0), two_digits(math.inf)
    ('0.021', '3.2e5', 'over 1e9')
    """
    if math.isnan(value):
        return number(value)
    if not 1 / _BEYOND <= value <= _BEYOND:
        return "over 1e9" if value > 1 else "under 1e-9"
    rounded = float(_digits(value, 2))
    return (
        f"{rounded:g}"
        if 1e-3 <= rounded < 1e4
        else re.sub(r"e([-+])0*", lambda sign: f"e{sign[1].strip('+')}", f"{rounded:.2g}")
    )


def rounded_up(value: float) -> float:
    """Return a number that is not negative with two digits, and not less than it was.

    >>> rounded_up(0.02101), rounded_up(0.021), rounded_up(3160.0), rounded_up(0.0), rounded_up(math.inf)
    (0.022, 0.021, 3200.0, 0.0, inf)
    """
    if value == 0 or not math.isfinite(value):
        return value
    nearest = float(_digits(value, 2))
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return nearest if nearest >= value * (1 - 1e-12) else float(_digits(nearest + unit, 2))


def percent(share: float, low: float, high: float) -> str:
    """Return an estimated share with its interval.

    An end that is on one side of one half reads so.

    >>> percent(0.123, 0.05, 0.214), percent(0.75, 0.5004, 0.9), percent(0.28, 0.13, 0.4964)
    ('12 % [5, 21]', '75 % [50.04, 90]', '28 % [13, 49.6]')
    """
    return f"{100 * share:.0f} % [{_in_percent(low)}, {_in_percent(high)}]"


def _in_percent(share: float) -> str:
    texts = (f"{100 * share:.{places}f}" for places in range(_PLACES))
    return next((text for text in texts if share == 0.5 or float(text) != 50), f"{100 * share:g}")


def listing(words: Sequence[str]) -> str:
    """Return words in a row.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def command(*words: str) -> str:
    """Return a command of this program as one types it, whatever a campaign is called.

    >>> command("confirm", "my campaign", "--seeds", "20")
    "sofim confirm 'my campaign' --seeds 20"
    """
    return shlex.join(["sofim", *words])


def because(names: Iterable[str], reasons: Iterable[str]) -> str:
    """Return on which workloads and where each does, those with the same reason together, whatever its numbers.

    >>> because(["a", "b", "c"], ["all diverged", "all diverged", "no trial has a value"])
    'a and b, where all diverged; on c, where no trial has a value'
    >>> few = "only {} trials are complete, at least 5 are needed"
    >>> because(["a", "b"], [few.format(3), few.format(4)])
    'a and b, where fewer than 5 trials are complete'
    """
    groups: dict[str, list[str]] = {}
    for name, reason in zip(names, reasons, strict=True):
        short = re.sub(r" \(.*\)$", "", reason)
        short = re.sub(
            r"^only \d+ trials? (?:is|are) (\w+), at least (\d+) are needed$", r"fewer than \2 trials are \1", short
        )
        groups.setdefault(short, []).append(name)
    return "; on ".join(f"{listing(same)}, where {reason}" for reason, same in groups.items())


def not_as_published(facts: Mapping[str, Any]) -> str:
    """Return that data are not those published, and what is said of them; "" where they are, or nothing is known.

    Args:
        facts: Of the files, as a study stores them: ``dataset``, ``md5`` by file, ``not_published`` and ``said``.

    >>> not_as_published({"dataset": "svhn", "md5": {"a": "1", "b": "2"}, "not_published": ["b"], "said": "half of it"})
    'Not svhn as published: b of 2 files has other content, of which its owner says: “half of it”.'
    """
    other = facts.get("not_published")
    if not other:
        return ""
    which = (
        f"all {len(other)} files have"
        if len(other) == len(facts["md5"]) > 1
        else (f"{listing(other)} of {len(facts['md5'])} files {'has' if len(other) == 1 else 'have'}")
    )
    said = (
        f"of which its owner says: “{facts['said'].rstrip('.')}”"
        if facts.get("said")
        else "of which its owner says nothing"
    )
    return f"Not {facts['dataset']} as published: {which} other content, {said}."
