"""The frames that lead to what runs, through the greenlets that wait for it."""

from greenlet import greenlet

from service_migrations.stack import frames


def names(_: object = None) -> list[str]:
    """Return the functions on the stack, from this one on."""
    found = []
    for frame, _line in frames():
        found.append(frame.f_code.co_name)
    return found


def test_the_stack_begins_with_the_caller() -> None:
    assert names()[:2] == ["names", "test_the_stack_begins_with_the_caller"]


def test_the_stack_goes_on_in_each_greenlet_that_waits() -> None:
    def middle() -> list[str]:
        return list(greenlet(names).switch())

    places = greenlet(middle).switch()
    assert places[:3] == ["names", "middle", "test_the_stack_goes_on_in_each_greenlet_that_waits"]


def test_a_greenlet_that_never_began_has_no_frames() -> None:
    inner: list[str] = []
    child = greenlet(lambda: inner.extend(names()), parent=greenlet(lambda _: None))
    child.switch()
    assert inner[:3] == ["names", "<lambda>", "test_a_greenlet_that_never_began_has_no_frames"]
