"""Pages of a tenant, below /t/<slug>/; names are ``tenant:...`` (screens.md 2)."""

from django.urls import path

import portal.converters  # noqa: F401  # registers vplus_guid, which the addresses below use
from portal.live.stream import live
from portal.web import (
    activity,
    backup,
    history,
    operation,
    overview,
    policies,
    policy_editor,
    promised,
    restore,
    tokens,
    virtual_machines,
)

app_name = "tenant"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("virtual-machines/", virtual_machines.vm_list, name="vm_list"),
    path("virtual-machines/<vplus_guid:guid>/", virtual_machines.vm_detail, name="vm_detail"),
    path("virtual-machines/<vplus_guid:guid>/restore-points/", history.vm_restore_points, name="vm_restore_points"),
    path("virtual-machines/<vplus_guid:guid>/backups/", history.vm_backups, name="vm_backups"),
    path("virtual-machines/<vplus_guid:guid>/restore/", restore.restore_new, name="restore_new"),
    path("virtual-machines/<vplus_guid:guid>/activity/", history.vm_activity, name="vm_activity"),
    path("virtual-machines/<vplus_guid:guid>/protection/", promised.vm_protection, name="vm_protection"),
    path("back-up/", backup.backup_new, name="backup_new"),
    path("policies/", policies.policy_list, name="policy_list"),
    path("policies/new/", policy_editor.policy_new, name="policy_new"),
    path("policies/<uuid:policy_id>/", policies.policy_detail, name="policy_detail"),
    path("policies/<uuid:policy_id>/change/", policy_editor.policy_edit, name="policy_edit"),
    path("policies/<uuid:policy_id>/drift/", policies.policy_drift, name="policy_drift"),
    path("policies/<uuid:policy_id>/delete/", policies.policy_delete, name="policy_delete"),
    path("activity/", activity.activity, name="activity"),
    path("activity/tasks/", activity.tasks, name="tasks"),
    path("tokens/", tokens.token_list, name="token_list"),
    path("tokens/new/", tokens.token_new, name="token_new"),
    path("tokens/<uuid:token_id>/revoke/", tokens.token_revoke, name="token_revoke"),
    path("live/", live, name="live"),
    path("activity/tasks/<vplus_guid:guid>/cancel/", operation.task_cancel, name="task_cancel"),
    path("operations/<uuid:operation_id>/", operation.operation, name="operation"),
    path("operations/<uuid:operation_id>/cancel/", operation.operation_cancel, name="operation_cancel"),
]
