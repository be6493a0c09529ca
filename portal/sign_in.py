"""How allauth signs people in here: nobody signs up, people are invited; allauth does the rest."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.http import HttpRequest


class InvitationsOnly(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Closed sign-up: an account exists because the provider or a tenant's admin made it."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return False, always."""
        del request
        return False


class KnownPeopleOnly(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """An organisation's sign-in opens only accounts that exist."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Return False, always."""
        del request, sociallogin
        return False
