"""Taking turns in a tenant: the lock of its row, under which everything is asked and looked at again."""

from uuid import UUID

from tenants.models.tenant import Tenant


def take_turn(tenant_id: UUID) -> Tenant:
    """Lock the tenant's row until the transaction ends and return it as it is then; rows that point at it go on.

    Whoever asks takes it before anything is looked at. Whoever changes rights takes it after the change is written: they
    wait for those who are just asking, and those who ask next see the change. The other order could lock both out, since
    a request may hold the row of its own membership or token already while it waits here.
    """
    return Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
