"""A column's type as casts of parameters may say it."""

from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects.postgresql import ARRAY


def uncut(kind: types.TypeEngine[Any]) -> types.TypeEngine[Any]:
    """``kind`` without its length or precision.

    An explicit cast to ``VARCHAR(5)`` cuts off what is longer, one to ``NUMERIC(8, 2)`` rounds: a row would be found that is another
    one, and a text would be stored that nobody sent, where an assignment is refused.
    """
    if isinstance(kind, types.ARRAY):
        return ARRAY(uncut(kind.item_type), dimensions=kind.dimensions)
    if isinstance(kind, types.TypeDecorator):
        wide = kind.copy()
        wide.impl = wide.impl_instance = uncut(kind.impl_instance)
        return wide
    if isinstance(kind, types.Enum):
        return kind
    if isinstance(kind, types.String) and kind.length is not None:
        return types.String()
    if isinstance(kind, types.Numeric) and not isinstance(kind, types.Float) and kind.precision is not None:
        return types.Numeric()
    return kind
