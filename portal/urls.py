"""Every address of the portal, by face."""

from django.urls import include, path

from portal import health, problems
from portal.web import account, chooser, gallery

handler400 = "portal.problems.bad_request"
handler403 = "portal.problems.forbidden"
handler404 = "portal.problems.not_found"
handler500 = "portal.problems.server_error"

urlpatterns = [
    path("", chooser.home, name="home"),
    path("tenants/", chooser.chooser, name="chooser"),
    path("account/", account.account, name="account"),
    path("account/theme/", account.theme, name="theme"),
    # allauth would let people take any address, unconfirmed: also the one that somebody else is about to be invited by.
    path("accounts/email/", problems.not_found),
    path("accounts/", include("allauth.urls")),
    path("t/<slug:tenant_slug>/", include("portal.web.urls")),
    path("console/", include("portal.web.console.urls")),
    path("api/", include("portal.api.urls")),
    path("components/", gallery.gallery, name="gallery"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
]
