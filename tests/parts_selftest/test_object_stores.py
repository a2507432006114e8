"""The object stores store what obstore writes, and support presigned URLs."""

import datetime
import urllib.request

import obstore
import pytest
from obstore.store import AzureStore, S3Store
from tests.parts.azurite import AzureAccount
from tests.parts.s3 import S3Server

pytestmark = pytest.mark.object_store

MINUTE = datetime.timedelta(minutes=1)


def test_azurite_by_signed_address(azurite: AzureAccount, azure_container: str) -> None:
    """A blob stored with the account's key can be read with a presigned URL."""
    store = AzureStore(
        azure_container,
        account_name=azurite.account,
        account_key=azurite.key,
        endpoint=azurite.endpoint,
        client_options={"allow_http": True},
    )
    obstore.put(store, "folder/name", b"hello")

    with urllib.request.urlopen(obstore.sign(store, "GET", "folder/name", MINUTE)) as answer:
        assert answer.read() == b"hello"


def test_s3_by_signed_address(s3: S3Server, s3_bucket: str) -> None:
    """An object stored with the server's keys can be read with a presigned URL."""
    store = S3Store(
        s3_bucket,
        endpoint=s3.endpoint,
        access_key_id=s3.access_key,
        secret_access_key=s3.secret_key,
        region=s3.region,
        client_options={"allow_http": True},
    )
    obstore.put(store, "folder/name", b"hello")

    with urllib.request.urlopen(obstore.sign(store, "GET", "folder/name", MINUTE)) as answer:
        assert answer.read() == b"hello"
