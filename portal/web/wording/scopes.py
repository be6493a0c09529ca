"""What a token may do, in a few words; the names themselves are for scripts."""

from collections.abc import Mapping
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants.rights import Right

SCOPES: Final[Mapping[str, Promise]] = {
    Right.READ: _("Read"),
    Right.BACK_UP: _("Back up"),
    Right.RESTORE: _("Restore"),
    Right.CANCEL: _("Cancel"),
    Right.POLICIES: _("Change policies"),
    Right.MEMBERS: _("Manage members"),
    Right.GRANTS: _("Manage access grants"),
    Right.TOKENS: _("Make tokens"),
    Right.ALL_TOKENS: _("See everybody’s tokens"),
    Right.AUDIT: _("Read the audit"),
    Right.SETTINGS: _("Change settings"),
    Right.PROVIDER_READ: _("See the provider’s console"),
    Right.PROVIDER_CHANGE: _("Change at the provider"),
}
EVERYTHING: Final = _("Everything that its owner may")
