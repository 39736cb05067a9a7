"""Methods that are written once and can be called in two ways.

`Project[Blocking]` and `Project[Asynchronous]` are the same class over two transports. A method that is an
`operation` returns its result on the first, an awaitable of it on the second; `listing` an iterator, or an
async one; `reading` is an attribute that makes a call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from exeml.core.calls import Pages, Steps
from exeml.core.transports import AsyncTransport, BlockingTransport


class Blocking:
    """The mode of `connect`: calls return when they are answered."""


class Asynchronous:
    """The mode of `connect_async`: calls are awaited."""


M = TypeVar("M")
P = ParamSpec("P")
R = TypeVar("R")
Transport = BlockingTransport | AsyncTransport


class Bound(Generic[M]):
    """Something that makes calls through a transport."""

    _transport: Any


class operation(Generic[P, R]):
    """Decorator of a generator of steps (`exeml.core.calls`). `steps` is the undecorated function."""

    def __init__(self, function: Callable[Concatenate[Any, P], Steps[R]]) -> None:
        self.steps = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, owner: None, kind: Any = None) -> operation[P, R]: ...
    @overload
    def __get__(self, owner: Bound[Blocking], kind: Any = None) -> Callable[P, R]: ...
    @overload
    def __get__(self, owner: Bound[Asynchronous], kind: Any = None) -> Callable[P, Awaitable[R]]: ...
    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is None:
            return self

        @wraps(self.steps)
        def call(*args: Any, **options: Any) -> Any:
            return owner._transport.run(self.steps(owner, *args, **options))

        return call


class listing(Generic[P, R]):
    """Decorator of a function that returns `Pages`, or of a generator of steps that ends with them."""

    def __init__(self, function: Callable[Concatenate[Any, P], Pages[R] | Steps[Pages[R]]]) -> None:
        self.pages = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, owner: None, kind: Any = None) -> listing[P, R]: ...
    @overload
    def __get__(self, owner: Bound[Blocking], kind: Any = None) -> Callable[P, Iterator[R]]: ...
    @overload
    def __get__(self, owner: Bound[Asynchronous], kind: Any = None) -> Callable[P, AsyncIterator[R]]: ...
    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is None:
            return self

        @wraps(self.pages)
        def call(*args: Any, **options: Any) -> Any:
            return owner._transport.items(self.pages(owner, *args, **options))

        return call


class reading(Generic[R]):
    """Decorator of a generator of steps without arguments: an attribute, to be awaited where calls are."""

    def __init__(self, function: Callable[[Any], Steps[R]]) -> None:
        self.steps = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, owner: None, kind: Any = None) -> reading[R]: ...
    @overload
    def __get__(self, owner: Bound[Blocking], kind: Any = None) -> R: ...
    @overload
    def __get__(self, owner: Bound[Asynchronous], kind: Any = None) -> Awaitable[R]: ...
    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else owner._transport.run(self.steps(owner))
