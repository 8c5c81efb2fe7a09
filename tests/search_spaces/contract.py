"""What every `Transform` must do, whatever the teacher: called with a transform, a teacher and inputs for it."""

import copy

import torch
from torch import Tensor, nn

from search_spaces.cost import cost
from search_spaces.recipe import Choice, Site
from search_spaces.transform import Student, Transform


def check_transform(transform: Transform, teacher: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Runs the whole contract over every choice of every site, and over all sites at once."""
    example = tuple(tensor[:2] for tensor in inputs)
    sites = transform.sites
    assert sites == transform.sites, "the sites change from call to call"
    assert len({site.name for site in sites}) == len(sites), "two sites have one name"
    for site in sites:
        assert site.kind == transform.kind
        assert site.name == transform.kind or site.name.startswith(f"{transform.kind}:")
        for choice in site.choices:
            _check_choice(transform, teacher, example, site, choice)
    if sites:
        together = {site.name: site.choices[-1] for site in sites}
        student = transform.apply(Student(teacher), together)
        assert student.without_effect == {}
        _check_output(student.module, teacher, example)


def _check_choice(
    transform: Transform, teacher: nn.Module, example: tuple[Tensor, ...], site: Site, choice: Choice
) -> None:
    argument = Student(copy.deepcopy(teacher))
    before = _bits(teacher), _bits(argument.module)
    student = transform.apply(argument, {site.name: choice})
    again = transform.apply(argument, {site.name: choice})
    label = f"{site.name} = {choice}"

    assert student is not argument, label
    assert (_bits(teacher), _bits(argument.module)) == before, f"{label} writes into the teacher or its argument"
    assert _bits(student.module) == _bits(again.module), f"{label} is not deterministic"
    assert not any(module.training for module in student.module.modules()), label
    if transform.kind != "precision":
        assert student.module is not argument.module, label
        assert _memory(student.module).isdisjoint(_memory(argument.module)), f"{label} shares memory"
    _check_output(student.module, teacher, example)
    if choice == site.unchanged:
        assert _price(student, example) == _price(argument, example), f"{label} is not the teacher"
        with torch.no_grad():
            torch.testing.assert_close(student.module(*example), teacher(*example))
    else:
        assert student.without_effect == {}, label
        got, wanted = _price(student, example), _price(argument, example)
        assert got != wanted, f"{label} changes nothing"
        if transform.kind == "precision":
            assert got[:2] == wanted[:2], label
        else:
            assert got[0] < wanted[0], f"{label} saves no multiply-accumulates"
            if transform.kind == "resolution":
                assert got[1] == wanted[1], f"{label} changes parameters"
            else:
                assert got[1] < wanted[1], f"{label} saves no parameters"


def _check_output(module: nn.Module, teacher: nn.Module, example: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        got, wanted = module(*example), teacher(*example)
    assert got.shape == wanted.shape
    assert bool(torch.isfinite(got).all())


def _bits(module: nn.Module) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in module.state_dict().items()}


def _memory(module: nn.Module) -> set[int]:
    tensors = (*module.parameters(), *module.buffers())
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}


def _price(student: Student, example: tuple[Tensor, ...]) -> tuple[int, int, str]:
    found = cost(student.module, example)
    return found.n_macs, found.n_parameters, student.precision
