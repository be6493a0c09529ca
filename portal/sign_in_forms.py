"""allauth's forms with our labels and hints; what they check and do stays allauth's."""

from collections.abc import Mapping
from typing import Any, ClassVar

from allauth.account import forms as account
from allauth.mfa.totp import forms as app
from allauth.mfa.webauthn import forms as keys
from django.utils.translation import gettext_lazy as lazy

_PASSWORD_HINT = lazy(
    "At least 12 characters. Not only digits, nothing that many people use, and not close to your name or e-mail."
)


class _Worded:
    """Names and explains the fields of the form that it is mixed into."""

    labels: ClassVar[Mapping[str, Any]] = {}
    hints: ClassVar[Mapping[str, Any]] = {}
    fields: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in self.labels.items():
            self.fields[name].label = label
        for name, hint in self.hints.items():
            self.fields[name].help_text = hint


class ChangePassword(_Worded, account.ChangePasswordForm):  # type: ignore[misc]  # allauth ships no types
    """A new password for somebody who knows the old one."""

    labels: ClassVar[Mapping[str, Any]] = {
        "oldpassword": lazy("Current password"),
        "password1": lazy("New password"),
        "password2": lazy("New password, once more"),
    }
    hints: ClassVar[Mapping[str, Any]] = {"password1": _PASSWORD_HINT}


class ResetPassword(_Worded, account.ResetPasswordForm):  # type: ignore[misc]
    """Where the link to a new password goes."""

    labels: ClassVar[Mapping[str, Any]] = {"email": lazy("E-mail")}


class ChoosePassword(_Worded, account.ResetPasswordKeyForm):  # type: ignore[misc]
    """A new password for somebody with a link."""

    labels: ClassVar[Mapping[str, Any]] = {
        "password1": lazy("New password"),
        "password2": lazy("New password, once more"),
    }
    hints: ClassVar[Mapping[str, Any]] = {"password1": _PASSWORD_HINT}


class SetPassword(_Worded, account.SetPasswordForm):  # type: ignore[misc]
    """A first password for somebody who signs in by an organisation."""

    labels: ClassVar[Mapping[str, Any]] = ChoosePassword.labels
    hints: ClassVar[Mapping[str, Any]] = ChoosePassword.hints


class SetUpApp(_Worded, app.ActivateTOTPForm):  # type: ignore[misc]
    """The first code of an authenticator app."""

    labels: ClassVar[Mapping[str, Any]] = {"code": lazy("Code that the app shows")}


class AddKey(_Worded, keys.AddWebAuthnForm):  # type: ignore[misc]
    """A passkey, or a security key for the second step."""

    labels: ClassVar[Mapping[str, Any]] = {"passwordless": lazy("Sign in with this key alone: a passkey")}
    hints: ClassVar[Mapping[str, Any]] = {
        "passwordless": lazy("No password is asked for then. The key itself asks for a fingerprint, a face or a PIN.")
    }
