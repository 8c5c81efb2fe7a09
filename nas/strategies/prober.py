"""What single choices lose, tried on the teacher itself instead of on a student built for each.

The layers that read what is cut are given the weights that a closed-form refit over their inputs' Gram matrix leaves,
at the teacher's own shape, and only what runs after them is run again (`search_spaces.replay`). A dropped block is the
linear map over channels that comes nearest to it. Layers behind are mended by such maps too, in place of a refit.
"""

from collections.abc import Callable, Mapping
from typing import final

from torch import Tensor

from nas.strategies.sensitivity import divergence
from search_spaces.channels import Channels
from search_spaces.masked import factorized, lost_share, without
from search_spaces.recipe import Choice, Site
from search_spaces.removal import consumers_of
from search_spaces.replay import Replay, nearest_map
from search_spaces.space import SearchSpace


@final
class Prober:
    """Tries the choices of one space."""

    def __init__(
        self,
        space: SearchSpace,
        inputs: tuple[Tensor, ...],
        classifier: bool,
        built: Callable[[Site, Choice], float],
        bfloat16: bool = False,
    ) -> None:
        """
        Args:
            space: whose choices are tried.
            inputs: (n, ...) some dozens that the calibration has not seen.
            classifier: whether outputs are logits along axis 1.
            built: the loss of a choice that can only be tried on a student built for it.
            bfloat16: whether the processor multiplies it in hardware.
        """
        self.space, self.classifier, self._built = space, classifier, built
        self._replay = Replay(space.teacher, inputs, space.statistics.channels_last, bfloat16)
        self._rates: dict[str, float] = {}

    def loss(self, site: Site, choice: Choice) -> float:
        """Divergence of the student that differs from the teacher in this choice alone, about as repair leaves it;
        infinite where it answers with NaN."""
        path = site.name.partition(":")[2]
        if site.kind == "factorize" and path in self.space.grams:
            return self._of_factors(path, str(choice))
        if site.kind == "depth" and self._replay.seen(path) is not None:
            return self._of({path: self._passing(path)})
        masked = self._masked(site, int(choice)) if site.kind == "channels" else {}
        return self._of(masked) if masked else self._built(site, choice)

    def _of(self, changes: Mapping[str, Tensor | Callable[[Tensor], Tensor]]) -> float:
        return divergence(self._replay.changed(changes), self._replay.outputs, self.classifier)

    def _of_factors(self, path: str, choice: str) -> float:
        """One choice of a layer is run for all: small errors cost in proportion to their energy."""
        weight = self.space.teacher.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        gram = self.space.grams[path][0]
        other = factorized(weight, choice, gram)
        share = lost_share(weight.flatten(1), other, gram)
        if path not in self._rates:
            self._rates[path] = self._of({path: other}) / max(share, 1e-12)
        return self._rates[path] * share

    def _masked(self, site: Site, width: int) -> dict[str, Tensor]:
        """Weights of the layers that read a group without the units that go."""
        channels = self.space.transforms["channels"]
        assert isinstance(channels, Channels)
        group, order = channels.groups[site.name], channels.orders[site.name]
        gone = order[: group.n_units - width * group.n_units // group.n_channels]
        weights: dict[str, Tensor] = {}
        for one in consumers_of(group, self.space.teacher, self.space.grams):
            layer = self.space.teacher.get_submodule(one.path)
            assert isinstance(layer.weight, Tensor)
            full = weights.setdefault(one.path, layer.weight.detach().flatten(1).clone())
            full[one.first_output :][: len(one.weight)] = without(one.weight, one.gram, one.columns[gone].ravel())
        return weights

    def _passing(self, path: str) -> Callable[[Tensor], Tensor]:
        """The linear map over channels, with a bias, that comes nearest to a block."""
        argument, answer = self._replay.seen(path) or (None, None)
        assert isinstance(argument, Tensor)
        assert isinstance(answer, Tensor)
        return nearest_map(argument, answer, 1 if argument.ndim == 4 else -1)
