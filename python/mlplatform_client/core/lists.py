"""The list that methods return."""

from __future__ import annotations

from mlplatform_client._native import mimebundle, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsIndex

__all__ = ["InfoList"]


class InfoList(list["Any"]):
    """A ``list`` that a notebook shows as a table; its slices, too."""

    __slots__ = ()

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        found = super().__getitem__(index)
        return InfoList(found) if isinstance(index, slice) else found

    def _repr_html_(self) -> str | None:
        return table(self)

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        # The notebook would store a `repr` of all items beside the table.
        return mimebundle(self)
