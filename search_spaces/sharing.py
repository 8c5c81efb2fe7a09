"""Weights and modules that a network uses under more than one name."""

from collections import defaultdict

from torch import nn


def shares_weights(network: nn.Module) -> frozenset[str]:
    """Paths of the modules that have a parameter of which another module has the same; a cut would untie them."""
    owners: dict[nn.Parameter, list[str]] = defaultdict(list)
    for path, module in network.named_modules():
        for parameter in {p for p in module._parameters.values() if p is not None}:
            owners[parameter].append(path)
    return frozenset(path for paths in owners.values() if len(paths) > 1 for path in paths)


def reaches_outside(network: nn.Module, path: str) -> bool:
    """Whether a module inside the one at `path` is also used under a name outside of it."""
    block = network.get_submodule(path)
    inside = set(block.modules()) - {block}
    names = ((name, module) for name, module in network.named_modules(remove_duplicate=False) if module in inside)
    aliases = {name for name, module in network.named_modules(remove_duplicate=False) if module is block}
    return any(not any(name.startswith(f"{alias}.") for alias in aliases) for name, _ in names)


def set_submodule(network: nn.Module, path: str, replacement: nn.Module) -> None:
    """Puts `replacement` in the place of the module at `path`, under every name that it has, in place."""
    old = network.get_submodule(path)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, replacement)
