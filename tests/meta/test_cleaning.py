"""What empties the database between tests never quarrels with a request that is still being answered."""

import threading
import time

from django.db import connections, transaction

from tenants.models import Tenant
from tenants.scope import every_tenant
from tests.cleaning import empty_database
from tests.conftest import Cast


def test_a_request_that_locks_the_other_way_round_is_let_through(cast: Cast) -> None:
    first, seen = threading.Event(), []

    def request() -> None:
        try:
            with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
                cursor.execute("LOCK TABLE tenants_tenant IN ACCESS SHARE MODE")
                first.set()
                time.sleep(0.1)  # the emptying has the earlier tables by now, and waits for this one
                cursor.execute("LOCK TABLE tenants_membership IN ACCESS SHARE MODE")
                seen.append("answered")
        finally:
            connections["owner"].close()

    asking = threading.Thread(target=request)
    asking.start()
    assert first.wait(10)
    empty_database()
    asking.join()
    assert seen == ["answered"]
    with every_tenant("test"):
        assert not Tenant.objects.exists()
