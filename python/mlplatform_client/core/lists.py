"""The list that methods return."""

from __future__ import annotations

from mlplatform_client._native import mimebundle, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsIndex

__all__ = ["InfoList"]


class InfoList(list["Any"]):
    """A ``list`` in every respect, which a notebook shows as a table, and its slices too."""

    __slots__ = ()

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        found = super().__getitem__(index)
        return InfoList(found) if isinstance(index, slice) else found

    def _repr_html_(self) -> str | None:
        return table(self)

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        # A `repr` of all items would be kept in the notebook beside the table.
        return mimebundle(self)
