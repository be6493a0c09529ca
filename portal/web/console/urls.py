"""Pages of the provider, below /console/; names are ``console:...``."""

from django.urls import path
from django.views.generic import RedirectView

from portal.web.console import attention, inbox, policies

app_name = "console"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="console:inbox"), name="overview"),
    path("virtual-machines/", inbox.inbox, name="inbox"),
    path("policies/", policies.policies, name="policies"),
    path("operations/", attention.operations, name="operations"),
    path("operations/<uuid:operation_id>/", attention.operation, name="operation"),
]
