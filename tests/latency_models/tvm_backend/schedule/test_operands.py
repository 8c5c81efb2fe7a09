"""Loads that several places need are made once, from addresses counted from one base."""

from typing import Any

import tvm_ffi
from tvm import ir, tirx
from tvm.ir import Var

from latency_models.tvm_backend.schedule.expressions import integer
from latency_models.tvm_backend.schedule.operands import copies_of, operand_of, terms_of

ROW, COLUMN = Var("row", "int64"), Var("column", "int64")
IMAGE = tirx.decl_buffer([integer(8), integer(6)], "float32", name="image")
WEIGHTS = tirx.decl_buffer([integer(6)], "float32", name="weights")
START = {ROW: integer(2), COLUMN: integer(0)}
PLACES = [{ROW: 0}, {ROW: 1}]


def product() -> Any:
    return tirx.BufferLoad(IMAGE, [ROW + 1, COLUMN]) * tirx.BufferLoad(WEIGHTS, [COLUMN])


def written_out(value: Any) -> list[tuple[list[Any], Any]]:
    copies = copies_of(terms_of(value, [ROW, COLUMN], {}), START, {}, COLUMN)
    return list(copies.written_out(PLACES, Var("lane", "int64"), [{}, {}]))


def test_an_address_is_a_base_and_constants() -> None:
    load = operand_of(tirx.BufferLoad(IMAGE, [ROW + 1, COLUMN]), [ROW, COLUMN])
    assert load is not None
    assert dict(load.strides) == {ROW: 6, COLUMN: 1}
    assert load.address(START).value == 18


def test_an_address_that_is_not_linear_is_left_as_it_is() -> None:
    load = tirx.BufferLoad(IMAGE, [tirx.floordiv(ROW, integer(2)), COLUMN])
    assert operand_of(load, [ROW, COLUMN]) is None
    assert terms_of(load * load, [ROW, COLUMN], {}).operands == ()


def test_what_rows_share_is_loaded_once() -> None:
    (first, value), (second, other) = written_out(product())
    assert [bind.value.source.name for bind in first] == ["weights"]
    assert second == []
    assert value.b.same_as(other.b)
    assert value.b.same_as(first[0].var)
    assert not tvm_ffi.structural_equal(value.a, other.a)


def test_nothing_is_shared_with_a_call() -> None:
    (first, value), (second, _) = written_out(tirx.exp(product()))
    assert (first, second) == ([], [])
    assert isinstance(value.args[0].b, ir.TensorLoad)


def test_nothing_is_set_apart_where_values_are_chosen() -> None:
    chosen = tirx.if_then_else(ROW < 3, product(), tirx.const(0.0, "float32"))
    assert terms_of(chosen, [ROW, COLUMN], {}).operands == ()
