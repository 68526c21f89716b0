"""Exceptions: one base class catches all of them.

Refusals of the platform are classes named after its ``errorCode``; their ``str()`` is exactly
``<Response [403]>. Info: {"status":403,"errorCode":"ForbiddenException","errorParams":{"field":"…"}}``, because
scripts match on it. What to do about an error is in ``hint``, which Python 3.11 and later also show below the
traceback. Where it is natural, a class is a builtin one, too (``TimeoutError``, ``ConnectionError``,
``PermissionError``, ``ValueError``). All of them can be pickled.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlplatform_client._native import K8sSparkJobExplanation, ManifestProblem

__all__ = [
    "BadRequestException",
    "ClosedException",
    "ConfigurationException",
    "ConflictException",
    "ConnectionException",
    "ForbiddenException",
    "InternalServerErrorException",
    "MLPlatformException",
    "ManifestException",
    "MethodNotAllowedException",
    "NotFoundException",
    "PayloadTooLargeException",
    "RequestTimeoutException",
    "ServiceUnavailableException",
    "SparkJobFailed",
    "TimeoutException",
    "TooManyRequestsException",
    "UnauthorizedException",
    "UnexpectedAnswerException",
    "UnsupportedMediaTypeException",
]


class MLPlatformException(Exception):
    """Base class of every exception of this package.

    Attributes
    ----------
    status : int or None
        HTTP status of the answer; ``None`` when there was none.
    error_code : str or None
        ``errorCode`` of the platform's refusal.
    field : str or None
        The refusal's text for people (``errorParams.field``).
    request_id : str or None
        The platform's id of the request, to be found in its log and audit.
    attempts : int
        How often the request was sent; 0 when nothing was sent.
    hint : str or None
        What to do about it.

    ``__cause__`` leads to what the network or TLS said, where it was one of those.
    """

    status: int | None = None
    error_code: str | None = None
    field: str | None = None
    request_id: str | None = None
    attempts: int = 0
    hint: str | None = None

    def __init__(self, message: str = "", **details: object) -> None:
        super().__init__(message)
        self.__dict__.update(details)
        if self.hint and hasattr(self, "add_note"):
            self.add_note(f"Hint: {self.hint}")

    def __str__(self) -> str:
        # The builtin OSErrors among the subclasses would format their arguments in their own way.
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, self.__dict__


class BadRequestException(MLPlatformException, ValueError):
    """400, or an invalid argument found before a request was sent (then ``status`` is ``None``)."""


class ManifestException(BadRequestException):
    """A manifest violates rules of the Spark operator; ``str()`` lists all problems.

    Attributes
    ----------
    problems : list of ManifestProblem
        Each with ``path``, ``line``, ``found``, ``rule`` and ``remedy``.
    """

    problems: tuple[ManifestProblem, ...] | list[ManifestProblem] = ()


class ForbiddenException(MLPlatformException, PermissionError):
    """403: the token is unknown, expired, withdrawn or deleted, or its role is too low."""


class UnauthorizedException(ForbiddenException):
    """401, also with a new session."""


class NotFoundException(MLPlatformException):
    """404: not found."""


class MethodNotAllowedException(MLPlatformException):
    """405: client and platform disagree about a route, because their versions differ too much."""


class RequestTimeoutException(MLPlatformException, TimeoutError):
    """408: the request did not reach the platform in time."""


class ConflictException(MLPlatformException):
    """409: an object of that name exists."""


class PayloadTooLargeException(MLPlatformException):
    """413: the request is larger than the platform's limit."""


class UnsupportedMediaTypeException(MLPlatformException):
    """415: the platform does not accept this media type."""


class TooManyRequestsException(MLPlatformException):
    """429, after the retries: too many requests from this address."""


class InternalServerErrorException(MLPlatformException):
    """500: the platform failed; ``request_id`` leads to the reason in its log."""


class ServiceUnavailableException(MLPlatformException):
    """503, after the retries: the platform is overloaded or stopping."""


class ConfigurationException(MLPlatformException, ValueError):
    """A setting is missing or invalid; nothing was sent."""


class ConnectionException(MLPlatformException, ConnectionError):
    """No connection, or a broken one; ``hint`` says what to check."""


class TimeoutException(MLPlatformException, TimeoutError):
    """The call exceeded its ``timeout``."""


class SparkJobFailed(MLPlatformException):
    """The job of a wait failed; ``str()`` gives the cause, ``hint`` the remedy.

    Attributes
    ----------
    job_name : str
        The job.
    explanation : K8sSparkJobExplanation or None
        What ``spark_job_explain`` says; ``None`` where the platform did not say.
    log : str
        The last lines of its log, at most 50.
    events : tuple of str
        The last warnings among its events, at most 10; if there are none, its last events.
    """

    job_name: str = ""
    explanation: K8sSparkJobExplanation | None = None
    log: str = ""
    events: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, job_name: str, explanation: K8sSparkJobExplanation | None, log: str, events: list[str]
    ) -> SparkJobFailed:
        """Create the exception; called by the Rust core."""
        text = f"the job '{job_name}' failed"
        if explanation is not None:
            text = "\n".join([f"{text}: {explanation.sentence}", *(f"  | {line}" for line in explanation.evidence)])
        hint = None if explanation is None else explanation.remedy
        return cls(text, hint=hint, job_name=job_name, explanation=explanation, log=log, events=tuple(events))


class ClosedException(MLPlatformException):
    """``stop()`` or ``close()`` ended the call."""


class UnexpectedAnswerException(MLPlatformException):
    """An answer that is not the platform's: of a portal, a proxy, another service at this address.

    Or an answer beyond a limit: a log longer than 512 MiB, a list longer than 1,000,000 items or 256 MiB of JSON.
    """


# errorCode → class. A code that only a newer platform knows is found by its status, or is the base class.
BY_ERROR_CODE: dict[str, type[MLPlatformException]] = {
    cls.__name__: cls
    for cls in (
        BadRequestException,
        UnauthorizedException,
        ForbiddenException,
        NotFoundException,
        MethodNotAllowedException,
        RequestTimeoutException,
        ConflictException,
        PayloadTooLargeException,
        UnsupportedMediaTypeException,
        TooManyRequestsException,
        InternalServerErrorException,
        ServiceUnavailableException,
    )
}

BY_STATUS: dict[int, type[MLPlatformException]] = {
    400: BadRequestException,
    401: UnauthorizedException,
    403: ForbiddenException,
    404: NotFoundException,
    409: ConflictException,
    429: TooManyRequestsException,
    500: InternalServerErrorException,
    503: ServiceUnavailableException,
}

# Families of the Rust core → class.
_BY_KIND: dict[str, type[MLPlatformException]] = {
    "argument": BadRequestException,
    "configuration": ConfigurationException,
    "foreign": UnexpectedAnswerException,
    "connection": ConnectionException,
    "timeout": TimeoutException,
    "closed": ClosedException,
    "internal": MLPlatformException,
}


def from_native(kind: str, message: str, details: dict[str, object], causes: list[str]) -> MLPlatformException:
    """Create the exception for an error; called by the Rust core."""
    if kind == "refused":
        status = details["status"]
        by_status = BY_STATUS.get(status) if isinstance(status, int) else None
        cls = BY_ERROR_CODE.get(str(details["error_code"])) or by_status or MLPlatformException
    else:
        cls = _BY_KIND[kind]
    exception = cls(message, **details)
    inner: BaseException = exception
    for text in causes:
        inner.__cause__ = OSError(text)
        inner = inner.__cause__
    return exception
