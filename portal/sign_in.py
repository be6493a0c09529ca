"""How allauth signs people in here: nobody signs up, people are invited; allauth does the rest, in our words."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

_WRONG_CODE: Final = lazy("This code is not right. An app shows a new one every 30 seconds.")
_ANOTHER_WAY: Final = {
    "reauthenticate": lazy("Use your password"),
    "mfa_reauthenticate": lazy("Use a code"),
    "mfa_reauthenticate:webauthn": lazy("Use a passkey or security key"),
}


class InvitationsOnly(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Closed sign-up: an account exists because the provider or a tenant's admin made it."""

    error_messages: ClassVar[Mapping[str, Any]] = DefaultAccountAdapter.error_messages | {
        "account_inactive": lazy("This account is switched off."),
        "email_password_mismatch": lazy("E-mail or password is not right."),
        "enter_current_password": lazy("This is not your current password."),
        "incorrect_code": _WRONG_CODE,
        "incorrect_password": lazy("This password is not right."),
        "invalid_password_reset": lazy("This link no longer works. Ask for a new one."),
        "rate_limited": lazy("Too many tries. Wait 5 min."),
        "too_many_login_attempts": lazy("Too many tries. Wait 5 min, or use a passkey."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return False, always."""
        del request
        return False

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Return allauth's ways to show once more who one is, each said as on our other pages."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        return [{**way, "description": _ANOTHER_WAY.get(way["id"], way["description"])} for way in methods]


class SecondStep(DefaultMFAAdapter):  # type: ignore[misc]
    """The second step as allauth does it, in our words."""

    error_messages: ClassVar[Mapping[str, Any]] = DefaultMFAAdapter.error_messages | {
        "cannot_generate_recovery_codes": lazy("Recovery codes come with an app or a key. Set up one of them first."),
        "incorrect_code": _WRONG_CODE,
    }

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:  # allauth names it so
        """Return a name to start with: "Key 1", by how many the person has."""
        return _("Key %(n)d") % {"n": Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}


class KnownPeopleOnly(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """An organisation's sign-in opens only accounts that exist."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Return False, always."""
        del request, sociallogin
        return False
