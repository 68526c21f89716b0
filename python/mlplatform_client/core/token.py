"""The token string."""

__all__ = ["TokenStr"]

# The five characters that say which kind of token it is; they are public.
_PREFIXES = ("mlpx_", "mlpr_", "mlpa_")


class TokenStr(str):
    """A token's value whose ``repr`` is masked.

    Masked: ``repr``, ``%r``, ``f"{token=}"``, lists and dictionaries, ``pprint``, the last expression of a
    notebook cell, tracebacks that show locals. The value itself, because scripts rely on it: ``print(token)``,
    ``str(token)``, f-strings, ``json``, ``pickle``, slices.

    Libraries that ask for the exact type ``str`` (PyYAML's safe dumper, Spark's schema inference) refuse it:
    give them ``str(token)``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        kind = self[:5] if self.startswith(_PREFIXES) else ""
        return f"TokenStr('{kind}********')"

    def __str__(self) -> str:
        # An exact ``str``, which str() of a subclass would otherwise not promise.
        return str.__str__(self)
