"""The story of two people and their tokens, on a platform of its own.

Run it with `make demo`, or with `python examples/tokens.py` where both packages are installed.
"""

from __future__ import annotations

import time
from typing import Any

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ForbiddenException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType


def step(what: str) -> None:
    """Announce what is done next."""
    step.number = getattr(step, "number", 0) + 1  # type: ignore[attr-defined]
    print(f"\n{step.number}. {what}")  # type: ignore[attr-defined]


def refused(call: Any, *arguments: Any, **named: Any) -> ForbiddenException:
    """Make a call that has to be refused, and show what its caller reads."""
    try:
        call(*arguments, **named)
    except ForbiddenException as error:
        print(f"   refused: {error}")
        print(f"   hint:    {error.hint}")
        return error
    raise SystemExit("this call should have been refused")


def main() -> None:
    """Play the story."""
    with LocalPlatform() as platform:
        print(f"A platform runs at {platform.url}, with an empty data directory.")
        administrator = MLPlatform(platform.admin_token, url=platform.url)

        step("The administrator makes a registration token for a colleague, Anna.")
        register_token = administrator.create_register_token(
            client_name="anna", access_ttl="2h45m30s", refresh_ttl="2h", token_type=MLPTokenType.USER
        )
        print(f"   {register_token!r}   (its repr is masked; print() gives the value)")

        step("Anna, who has no token yet, redeems it for an access token.")
        refresh_token = MLPlatform(url=platform.url).create_refresh_token(register_token)
        print(f"   {refresh_token!r}")

        step("Who am I? Anna asks with her access token.")
        anna = MLPlatform(refresh_token, url=platform.url)
        print(f"   {anna.who_am_i()}".replace("\n", "\n   "))

        step("The administrator lists the access tokens.")
        for info in administrator.get_project_tokens_info():
            print(f"   {info.name:<8}{info.type:<7}issued by {info.issuer_name}, expires {info.exp or 'never'}")

        step("Anna tries what only an administrator may do.")
        refused(anna.get_project_tokens_info)

        step("Somebody tries to redeem Anna's registration token a second time.")
        refused(MLPlatform(url=platform.url).create_refresh_token, register_token)

        step("A registration token that lives for one second is redeemed too late.")
        short_lived = administrator.create_register_token(
            client_name="late", access_ttl="1s", token_type=MLPTokenType.USER
        )
        time.sleep(1.1)
        refused(MLPlatform(url=platform.url).create_refresh_token, short_lived)

        step("The administrator deletes Anna's access token; her next call fails.")
        administrator.delete_token(token_name="anna")
        refused(anna.who_am_i)

    print("\nThat is the whole life of a token. The platform was stopped and its data directory removed.")


if __name__ == "__main__":
    main()
