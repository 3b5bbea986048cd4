"""What the input gives the gates, before it is computed: a kernel may do that better than one big product."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinyrnn import ops

__all__ = ["Projection"]


class Projection(NamedTuple):
    """``x W + b``, of tensors or of arrays.

    Attributes
    ----------
    x : (B, T, F), or with `ids` a table (n, F)
    W : (F, G * units)
    b : (G * units,) or None
    ids : integers (B, T), optional
        The rows of the table that are meant; `x` then is the table.
    masks : (G, B, F), optional
        Dropout: factors of the input, per gate, the same at all steps.
    """

    x: Any
    W: Any
    b: Any = None
    ids: Any = None
    masks: Any = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(B, T, G * units)``."""
        batch, length = self.x.shape[:2] if self.ids is None else self.ids.shape
        return batch, length, self.W.shape[1]

    @property
    def parts(self) -> list:
        """What may need a gradient: `x`, `W` and, if there is one, `b`."""
        return [self.x, self.W] if self.b is None else [self.x, self.W, self.b]

    def of(self, parts: list) -> Projection:
        """Return the same of other parts."""
        x, W, b = parts if len(parts) == 3 else (*parts, None)
        return Projection(x, W, b, self.ids, self.masks)

    def looked_up(self) -> Projection:
        """Return the same with the rows of the table that are meant."""
        return self if self.ids is None else self._replace(x=ops.take(self.x, self.ids), ids=None)

    def compute(self) -> Any:
        """Return the pre-activations ``(B, T, G * units)``; for a sequence one product for all time steps."""
        x = self.looked_up().x
        if self.masks is None:
            z = x @ self.W
        else:
            units = self.W.shape[1] // len(self.masks)
            blocks = [self.W[:, k * units : (k + 1) * units] for k in range(len(self.masks))]
            dropped = [(x * m[:, None]) @ w for m, w in zip(self.masks, blocks, strict=True)]
            z = ops.concatenate(dropped, axis=-1)
        return z if self.b is None else z + self.b
