"""scim2-server's storage contract, on both databases."""

from __future__ import annotations

import pytest
from scim2_models import ScimProvider
from scim2_server.testing import ScimStorageContract

from kong_scim.directory.database import Database, Scope
from kong_scim.directory.storage import SqlStorage
from without_kong import storage_of

pytestmark = pytest.mark.long


class TestSqlStorage(ScimStorageContract):
    @pytest.fixture
    def storage(self, database: Database, provider: ScimProvider) -> SqlStorage:
        return storage_of(database, Scope("workspace", "tenant"), provider)
