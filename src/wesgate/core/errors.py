"""What can go wrong, as a caller can tell it apart.

* WesgateError
  x NotFound            no such run or task, or not yours     404
  x NotPermitted        known, but not allowed                403
  x NotAuthenticated    no valid credentials                  401
  x InvalidRequest      the request cannot be carried out     400
  x TooLarge            over a stated limit                   413
  x TooSlow             the request stopped arriving        408
  x Conflict            another request has this key          409
    + KeyReused         and was not the same                  422
  x Unavailable         the database cannot answer now        503
  x Misconfigured       the service cannot start like this
  x BackendError
    + Retryable         trying again later may help
    + Permanent         trying again will not help

The status of each is a table in `api/problems.py`.
"""


class WesgateError(Exception):
    """wesgate could not do what was asked."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class NotFound(WesgateError):
    """There is no such resource, or it is not yours."""


class NotPermitted(WesgateError):
    """This is not allowed."""


class NotAuthenticated(WesgateError):
    """Valid credentials are needed."""


class InvalidRequest(WesgateError):
    """The request cannot be carried out as it stands."""


class TooLarge(WesgateError):
    """The request is larger than this service accepts."""


class TooSlow(WesgateError):
    """The request stopped arriving before its end."""


class Conflict(WesgateError):
    """Another request was made under this key."""


class KeyReused(Conflict):
    """Another request was made under this key, and it was not the same."""


class Unavailable(WesgateError):
    """The service cannot answer now; try again shortly."""


class Misconfigured(WesgateError):
    """The service cannot start with these settings."""


class BackendError(WesgateError):
    """A backend did not do what it was asked."""


class Retryable(BackendError):
    """The backend cannot do it now; trying again later may help."""


class Permanent(BackendError):
    """The backend will not do it; trying again will not help."""
