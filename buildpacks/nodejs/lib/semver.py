"""Ranges of versions, as package.json writes them: the part of node-semver that "engines" uses."""

import re

_PARTS = re.compile(r"^[v=\s]*(\d+|[xX*])?(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+].*)?$")
_COMPARATOR = re.compile(r"^(>=|<=|>|<|=|\^|~>?|)\s*(\S*)$")


class BadRange(ValueError):
    """A text that is not a range."""


def parse(text):
    """A full version as three numbers; None for anything else, pre-releases included."""
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return tuple(map(int, match.groups())) if match else None


def _partial(text):
    match = _PARTS.match(text)
    if not match:
        raise BadRange(text)
    parts = []
    for part in match.groups():
        if part is None or part in "xX*":
            break
        parts.append(int(part))
    return parts


def _low(parts):
    return tuple(parts + [0] * (3 - len(parts)))


def _after(parts):
    """The first version after all that begin with these parts; None when there is none."""
    if not parts:
        return None
    return _low(parts[:-1] + [parts[-1] + 1])


def _bounds(operator, text):
    """The least version, and the first that is too new."""
    parts = _partial(text)
    low = _low(parts)
    if operator in ("", "="):
        return (low, _after(parts))
    if operator == ">=":
        return (low, None)
    if operator == ">":
        return ((_after(parts) or (10**9, 0, 0)) if len(parts) < 3 else low[:2] + (low[2] + 1,), None)
    if operator == "<":
        return ((0, 0, 0), low)
    if operator == "<=":
        return ((0, 0, 0), _after(parts))
    if operator.startswith("~"):
        return (low, _after(parts[:2]))
    # ^ keeps the first number that is not 0.
    keep = next((at for at, part in enumerate(parts) if part), len(parts) - 1) + 1
    return (low, _after(parts[:keep]))


def matcher(text):
    """A function that says whether a version, as three numbers, is in the range."""
    alternatives = []
    for alternative in text.split("||"):
        alternative = re.sub(r"(>=|<=|>|<|=|\^|~>?)\s+", r"\1", alternative.strip())
        hyphen = re.fullmatch(r"(\S+)\s+-\s+(\S+)", alternative)
        if hyphen:
            words = [">=" + hyphen[1], "<=" + hyphen[2]]
        else:
            words = alternative.split() or ["*"]
        alternatives.append([_bounds(*_COMPARATOR.match(word).groups()) for word in words])

    def matches(version):
        return any(
            all(low <= version and (end is None or version < end) for low, end in bounds)
            for bounds in alternatives
        )

    return matches


def best(versions, text):
    """The newest of these versions in the range; None when there is none."""
    matches = matcher(text)
    fitting = [version for version in filter(None, map(parse, versions)) if matches(version)]
    return ".".join(map(str, max(fitting))) if fitting else None
