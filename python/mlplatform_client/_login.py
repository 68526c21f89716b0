"""`mlplatform_client.login`: asks for a token without showing it, and stores it in a profile."""

from __future__ import annotations

import os
import sys
import warnings

from mlplatform_client._native import Login, MLPlatform
from mlplatform_client.core.exceptions import ConfigurationException


def login(
    profile: str | None = None,
    *,
    url: str | None = None,
    ca_bundle: str | os.PathLike[str] | None = None,
    save: bool = True,
) -> MLPlatform:
    """Ask for a token, check it, and store it for later.

    The prompt does not show the token, neither in a terminal nor in a notebook, and a saved notebook does not contain
    it. A registration token is redeemed, and the new access token is stored. After that, ``MLPlatform()`` needs no
    argument in any script and notebook of this user.

    Parameters
    ----------
    profile : str, optional
        The name of the profile. Default: ``MLP_PROFILE``, else ``default``.
    url : str, optional
        Address of the platform. Default: ``MLP_URL``, else that of the profile, else the vendor's.
    ca_bundle : str or os.PathLike, optional
        As for ``MLPlatform``; stored in the profile.
    save : bool, optional
        ``False``: nothing is written, and only the returned object has the token. A registration token is refused then,
        because the new access token would be lost. Default: ``True``.

    Returns
    -------
    MLPlatform
        One that works with the token.

    Raises
    ------
    ForbiddenException
        The token is unknown, expired, deleted or redeemed already.
    ConfigurationException
        Nobody can be asked here, a setting cannot be meant, or the profile cannot be written; told before anything is
        asked.

    Examples
    --------
    >>> import mlplatform_client as mlp
    >>> platform = mlp.login(url="https://platform.example.com")    # doctest: +SKIP
    Token for https://platform.example.com/ (access or registration token, not shown):
    Signed in to https://platform.example.com/ as 'anna' (User); stored in profile 'default'.
    """
    prepared = Login(profile=profile, url=url, ca_bundle=ca_bundle, save=save)
    token = _ask(f"Token for {prepared.url} (access or registration token, not shown): ")
    if not save and token.strip().startswith("mlpx_"):
        raise ConfigurationException(
            "this is a registration token, and the access token that it gives would be lost with save=False",
            hint="omit save=False, or redeem it with create_refresh_token and store the result",
        )
    done = prepared.finish(token)
    del token
    info, problem = done.get("info"), done.get("problem")
    who = f" as {info.name!r} ({info.type.name.title()})" if info else ""
    kept = f"; stored in profile {prepared.profile!r}" if "saved" in done else ""
    print(f"Signed in to {prepared.url}{who}{kept}.")
    if problem:
        lives = (
            "" if "saved" in done else "; the new access token is in the object that login() returned, and nowhere else"
        )
        warnings.warn(f"{problem}{lives}", UserWarning, stacklevel=2)
    if done["overridden"]:
        warnings.warn(done["overridden"], UserWarning, stacklevel=2)
    return MLPlatform(
        done["token"], url=prepared.url, ca_bundle=ca_bundle, profile=prepared.profile if "saved" in done else None
    )


def _ask(question: str) -> str:
    """Prompt with `getpass`, which a kernel replaces. Without a user to answer, raise an error instead of waiting."""
    import getpass

    nobody = ConfigurationException(
        "login() asks for a token, and there is nobody here to answer",
        hint="call it in a terminal or a notebook; a program reads MLP_REFRESH_TOKEN, or an existing profile",
    )
    kernel = "ipykernel" in sys.modules
    if not kernel and not (sys.stdin and sys.stdin.isatty()):
        raise nobody
    try:
        return getpass.getpass(question)
    except EOFError:
        raise nobody from None
    except RuntimeError as error:
        # A kernel whose frontend has no prompt.
        raise nobody from error
