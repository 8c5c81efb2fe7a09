"""Recipes and figures in words that people read."""

from collections.abc import Mapping

from search_spaces.recipe import Choice, Recipe, Site

Sites = Mapping[str, Site]
"""Site name to site, as the teacher has them."""

_ORDER = ("depth", "resolution", "channels", "factorize", "precision")
_METHODS = {"tucker2": "Tucker-2", "spatial": "a spatial pair", "svd": "SVD"}


def changes(recipe: Recipe, sites: Sites | None = None) -> tuple[str, ...]:
    """One phrase for each site that differs from the teacher: blocks, widths, factorised layers, precision.

    With `sites` the teacher's own width is named as well ("blocks.0.conv1 32 → 16 channels").
    """
    names = sorted(recipe, key=lambda name: (_rank(name), _natural(name)))
    return tuple(_phrase(name, recipe[name], sites or {}) for name in names)


def in_words(recipe: Recipe, sites: Sites | None = None) -> str:
    """All changes in one sentence; the empty recipe is "as the teacher"."""
    return "; ".join(changes(recipe, sites)) or "as the teacher"


def summary(recipe: Recipe, sites: Sites | None = None) -> str:
    """A few words for a table, e.g. "9 widths (62 % of channels), 2 blocks dropped, int8".

    The share of channels needs `sites`; it counts the channels of all sites outside dropped blocks.
    """
    n = {kind: sum(_kind(name) == kind for name in recipe) for kind in _ORDER}
    parts = []
    if n["channels"]:
        share = _share_of_channels(recipe, sites or {})
        parts.append(_count(n["channels"], "width") + ("" if share is None else f" ({100 * share:.0f} % of channels)"))
    if n["depth"]:
        parts.append(f"{_count(n['depth'], 'block')} dropped")
    if n["resolution"]:
        parts.append("halved earlier" if n["resolution"] == 1 else f"halved earlier {n['resolution']} times")
    if n["factorize"]:
        parts.append(f"{_count(n['factorize'], 'layer')} factorised")
    parts += [str(recipe[name]) for name in recipe if _kind(name) == "precision"]
    n_other = len(recipe) - sum(n.values())
    if n_other:
        parts.append(_count(n_other, "other change"))
    return ", ".join(parts) or "as the teacher"


def percent(share: float, n_digits: int = 2) -> str:
    """A share as a percentage, e.g. 0.9312 -> "93.12 %"."""
    return f"{100 * share:.{n_digits}f} %"


def score(value: float, is_share: bool = True) -> str:
    """A score as tables show it: a share in %, a user's own metric as it is."""
    return percent(value) if is_share else f"{value:.4g}"


def drop(value: float, is_share: bool = True) -> str:
    """How far a score lies below the teacher's: points of a percentage ("0.30 points"), or as it is."""
    return f"{100 * value:.2f} points" if is_share else f"{value:.4g}"


def against_teacher(value: float, is_share: bool = True) -> str:
    """A drop with its direction, e.g. "0.30 points below the teacher"."""
    return f"{drop(abs(value), is_share)} {'above' if value < 0 else 'below'} the teacher"


def about(figure: str, source: str) -> str:
    """A figure that rests on a latency, with "~" before it where that is `predicted`: nobody takes it for measured."""
    return f"~{figure}" if source == "predicted" else figure


def estimate(known_error: float | None) -> str:
    """What stands beside predicted latencies: the predictor's median relative error, or that it is unknown."""
    if known_error is None:
        return "estimate: error unknown"
    return f"estimate: median error {100 * known_error:.2g} % where a clock could judge it"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds with three significant digits, e.g. 0.0002613 -> "0.261 ms"."""
    value = 1e3 * seconds
    n_digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:.{n_digits}f} ms"


def duration(seconds: float) -> str:
    """Seconds as a clock shows them, e.g. 75.0 -> "1:15" and 3725.0 -> "1:02:05"; never below zero."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _phrase(name: str, choice: Choice, sites: Sites) -> str:
    kind, path = _kind(name), name.partition(":")[2]
    if kind == "depth":
        return f"{path} dropped" if choice == "drop" else f"{path}: {choice}"
    if kind == "resolution":
        return f"image halved before {path}" if choice == "half" else f"{path}: {choice}"
    if kind == "channels":
        site = sites.get(name)
        return f"{path} {site.unchanged} → {choice} channels" if site else f"{path} {choice} channels"
    if kind == "factorize":
        method, _, strength = str(choice).partition(":")
        return f"{path} factorised by {_METHODS.get(method, method)}" + (
            f" at {percent(float(strength), 0)} of its rank" if strength else ""
        )
    if kind == "precision":
        return f"{path} in {choice}" if path else f"computed in {choice}"
    return f"{name}: {choice}"


def _share_of_channels(recipe: Recipe, sites: Sites) -> float | None:
    """Channels kept as a share of the teacher's, over the sites outside dropped blocks."""
    dropped = [name.partition(":")[2] + "." for name in recipe if _kind(name) == "depth" and recipe[name] == "drop"]
    kept = total = 0
    for name, site in sites.items():
        if site.kind == "channels" and not any(name.partition(":")[2].startswith(path) for path in dropped):
            total += int(site.unchanged)
            kept += int(recipe.get(name, site.unchanged))
    return kept / total if total else None


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _rank(name: str) -> int:
    return _ORDER.index(_kind(name)) if _kind(name) in _ORDER else len(_ORDER)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts `blocks.2` before `blocks.10`."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split("."))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
