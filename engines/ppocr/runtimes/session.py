"""What every runtime gives a stage: a tensor in, a tensor out."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.interface import Layer, OutOfMemoryError

Tensor = NDArray[np.float32]
Result = TypeVar("Result")

_ALLOCATION = re.compile(
    r"bad[ _]alloc|(failed|unable|not able|cannot) to allocate|cannot allocate memory|out of memory"
    r"|insufficient memory|could not create a memory|allocat\w+ \d+ bytes",
    re.IGNORECASE,
)


class Session(ABC):
    """A model that is loaded and ready. Used by one thread at a time."""

    metadata: Mapping[str, str]
    """What the model file says of itself."""

    @abstractmethod
    def run(self, x: Tensor) -> Tensor:
        """The first output for the batch `x` of shape (N, C, H, W).

        It may lie in the runtime's own buffer: it is valid until the next call.
        """

    def map(self, batches: Iterable[Tensor], use: Callable[[Tensor], Result]) -> list[Result]:
        """`use(run(batch))` for every batch, in order; `use` may run in another thread."""
        return [use(self.run(batch)) for batch in batches]

    def layers(self, model: str) -> list[Layer]:
        """What each layer took so far, where the session was opened to profile; `model` names it. Ends profiling."""
        del model
        return []


@contextmanager
def allocation_failures() -> Iterator[None]:
    """Turn what numpy, OpenCV and the runtimes raise when memory runs out into OutOfMemoryError."""
    try:
        yield
    except Exception as error:
        # The runtimes have no type of their own for it: the message is all there is, here or in a cause.
        for cause in _causes(error):
            if isinstance(cause, MemoryError) or _ALLOCATION.search(str(cause)):
                raise OutOfMemoryError(
                    next(iter(str(cause).strip().splitlines()), "out of memory")
                ) from cause
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
