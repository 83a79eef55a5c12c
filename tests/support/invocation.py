"""What Invoke parses the command line of the tasks with."""

from functools import cache

from invoke.parser import ParserContext

from tasks import namespace

__all__ = ["contexts"]


@cache
def contexts() -> tuple[ParserContext, ...]:
    """Return the contexts of all tasks; Invoke gives a task's help texts away when it is first asked for them."""
    task_contexts = tuple(namespace.to_contexts())
    assert len(task_contexts) > 15
    return task_contexts
