from latency_models.estimate.residency import Tensors, Touch, shares_beyond, touches

A, B, W = Touch("a", 40), Touch("b", 40), Touch("w", 100)


def test_what_was_just_written_is_found_in_the_first_cache() -> None:
    """When the second call begins, `b` was written last; `a` has 140 bytes on top of it. When the first begins, `a` and
    `b` are on top, the weights below them."""
    first, second = shares_beyond([[A, W, B], [B, A]], (90, 150, 200))
    assert second == (0.5, 0.5, 0.0)
    assert first == (100 / 180, 100 / 180, 0.0)


def test_a_network_larger_than_every_cache_streams_its_weights() -> None:
    weights = [[Touch(("weight", i), 64)] for i in range(4)]
    assert shares_beyond(weights, (64, 255)) == [(1.0, 1.0)] * 4
    assert shares_beyond(weights, (64, 256)) == [(1.0, 0.0)] * 4


def test_activations_leave_their_memory_to_later_ones() -> None:
    calls = [
        Tensors(("x",), "t1", 40, (100,)),
        Tensors(("t1",), "t2", 30),
        Tensors(("t2",), "t3", 20, workspace_bytes=8),
    ]
    assert touches(calls, {"x": 12}) == [
        [Touch(("input", "x"), 12), Touch(("weight", 0, 0), 100), Touch(("activation", 0), 40)],
        [Touch(("activation", 0), 40), Touch(("activation", 1), 30)],
        [Touch(("activation", 1), 30), Touch("workspace", 8), Touch(("activation", 0), 20)],
    ]


def test_an_activation_that_is_read_again_keeps_its_memory() -> None:
    calls = [
        Tensors(("x",), "t1", 40),
        Tensors(("t1",), "t2", 40),
        Tensors(("t2",), "t3", 40),
        Tensors(("t3", "t1"), "t4", 40),
    ]
    places = [call[-1].area for call in touches(calls, {"x": 40})]
    assert places == [("activation", 0), ("activation", 1), ("activation", 2), ("activation", 1)]
