"""Addresses of the API, below /api/."""

from django.urls import path

import portal.converters  # noqa: F401  # registers vplus_guid, which the addresses below use
from portal.api import (
    audit_events,
    destinations,
    me,
    openapi,
    operations,
    operator_operations,
    operator_policies,
    operator_status,
    operator_tenants,
    operator_virtual_machines,
    policies,
    restore_targets,
    runs,
    schedules,
    tasks,
    tokens,
    virtual_machines,
)

app_name = "api"
urlpatterns = [
    path("v1/me/", me.MeView.as_view(), name="me"),
    path("v1/virtual-machines/", virtual_machines.VirtualMachineList.as_view(), name="virtual_machines"),
    path(
        "v1/virtual-machines/<vplus_guid:guid>/",
        virtual_machines.VirtualMachineDetail.as_view(),
        name="virtual_machine",
    ),
    path(
        "v1/virtual-machines/<vplus_guid:guid>/backups/",
        virtual_machines.BackupList.as_view(),
        name="virtual_machine_backups",
    ),
    path(
        "v1/virtual-machines/<vplus_guid:guid>/restore-points/",
        virtual_machines.RestorePointList.as_view(),
        name="virtual_machine_restore_points",
    ),
    path(
        "v1/virtual-machines/<vplus_guid:guid>/tasks/",
        virtual_machines.MachineTaskList.as_view(),
        name="virtual_machine_tasks",
    ),
    path("v1/virtual-machines/<vplus_guid:guid>/runs/", runs.RunList.as_view(), name="virtual_machine_runs"),
    path("v1/operations/", operations.OperationList.as_view(), name="operations"),
    path("v1/operations/<uuid:operation_id>/", operations.OperationDetail.as_view(), name="operation"),
    path("v1/operations/<uuid:operation_id>/cancel/", operations.OperationCancel.as_view(), name="operation_cancel"),
    path("v1/policies/", policies.PolicyList.as_view(), name="policies"),
    path("v1/policies/<uuid:policy_id>/", policies.PolicyDetail.as_view(), name="policy"),
    path("v1/policies/<uuid:policy_id>/accept-drift/", policies.AcceptDrift.as_view(), name="policy_accept_drift"),
    path("v1/policies/<uuid:policy_id>/put-back/", policies.PutBack.as_view(), name="policy_put_back"),
    path("v1/schedules/", schedules.ScheduleList.as_view(), name="schedules"),
    path("v1/schedules/preview/", schedules.SchedulePreview.as_view(), name="schedule_preview"),
    path("v1/schedules/<uuid:schedule_id>/", schedules.ScheduleDetail.as_view(), name="schedule"),
    path("v1/tasks/", tasks.TaskList.as_view(), name="tasks"),
    path("v1/backup-destinations/", destinations.DestinationList.as_view(), name="backup_destinations"),
    path("v1/restore-targets/", restore_targets.RestoreTargetList.as_view(), name="restore_targets"),
    path("v1/tokens/", tokens.TokenList.as_view(), name="tokens"),
    path("v1/tokens/<uuid:token_id>/", tokens.TokenDetail.as_view(), name="token"),
    path("v1/audit-events/", audit_events.AuditEventList.as_view(), name="audit_events"),
    path(
        "v1/operator/virtual-machines/",
        operator_virtual_machines.OwnedMachineList.as_view(),
        name="operator_virtual_machines",
    ),
    path("v1/operator/tenants/", operator_tenants.TenantList.as_view(), name="operator_tenants"),
    path("v1/operator/operations/", operator_operations.AttentionList.as_view(), name="operator_operations"),
    path(
        "v1/operator/operations/<uuid:operation_id>/",
        operator_operations.AttentionDetail.as_view(),
        name="operator_operation",
    ),
    path(
        "v1/operator/operations/<uuid:operation_id>/link-task/",
        operator_operations.LinkTask.as_view(),
        name="operator_operation_link_task",
    ),
    path(
        "v1/operator/operations/<uuid:operation_id>/send-again/",
        operator_operations.SendAgain.as_view(),
        name="operator_operation_send_again",
    ),
    path(
        "v1/operator/operations/<uuid:operation_id>/abandon/",
        operator_operations.Abandon.as_view(),
        name="operator_operation_abandon",
    ),
    path("v1/operator/policies/", operator_policies.OperatorPolicyList.as_view(), name="operator_policies"),
    path(
        "v1/operator/policies/<vplus_guid:guid>/attach/",
        operator_policies.AttachPolicy.as_view(),
        name="operator_policy_attach",
    ),
    path(
        "v1/operator/policies/<vplus_guid:guid>/detach/",
        operator_policies.DetachPolicy.as_view(),
        name="operator_policy_detach",
    ),
    path("v1/operator/status/", operator_status.StatusView.as_view(), name="operator_status"),
    path("schema/", openapi.SchemaView.as_view(), name="schema"),
    path("docs/", openapi.docs, name="docs"),
]
