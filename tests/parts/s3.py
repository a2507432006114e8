"""A real S3: Ceph's radosgw with one ceph-mon and one ceph-osd, in memory and a temporary folder.

Authentication inside the cluster (cephx) is disabled. Besides the obvious settings, this requires
`auth_client_required = none` and `ms_mon_client_mode = crc` for radosgw.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hmac
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.process import Program, clear_away, free_port, http_answers, own_folder, program

ACCESS_KEY, SECRET_KEY, REGION = "hythe-access", "hythe-secret-for-tests", "us-east-1"

CONFIGURATION = """
[global]
fsid = {fsid}
run_dir = {folder}
admin_socket =
log_file = {folder}/$name.log
mon_host = [v2:127.0.0.1:{mon_port}/0]
mon_initial_members = a
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = true
ms_bind_ipv4 = true
ms_bind_ipv6 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_cluster_mode = crc
ms_service_mode = crc
ms_client_mode = crc
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
ms_mon_client_mode = crc
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data = {folder}/mon
mon_data_avail_crit = 1
mon_data_avail_warn = 2
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_op_queue = wpq
osd_max_pg_log_entries = 10
rgw_frontends = beast endpoint=127.0.0.1:{rgw_port}
rgw_enable_usage_log = false
rgw_thread_pool_size = 64
rgw_obj_stripe_size = 4194304
rgw_dns_name =
"""


@dataclass(frozen=True, slots=True)
class S3Server:
    """The object store's endpoint and credentials."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    @property
    def env(self) -> dict[str, str]:
        """The usual environment variables."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ALLOW_HTTP": "true",
        }


@dataclass(slots=True)
class _Cluster:
    """The folder and daemons of a cluster."""

    folder: Path
    daemons: list[Program]

    def command(self, name: str, package: str, *arguments: str) -> list[str]:
        return [program(name, package), "--conf", str(self.folder / "ceph.conf"), *arguments]

    def run(self, name: str, package: str, *arguments: str) -> None:
        command = self.command(name, package, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def start(self, name: str, package: str, *arguments: str) -> Program:
        command = self.command(name, package, "-f", *arguments)
        daemon = Program(command, self.folder / f"{name}.out")
        self.daemons.append(daemon)
        return daemon

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.kill()
        clear_away(self.folder)


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """Run an S3 server with one user."""
    with own_folder("s3") as folder:
        cluster = _Cluster(folder, [])
        mon_port, rgw_port = free_port(), free_port()
        text = CONFIGURATION.format(fsid=uuid.uuid4(), folder=folder, mon_port=mon_port, rgw_port=rgw_port)
        (folder / "ceph.conf").write_text(text)
        endpoint = f"http://127.0.0.1:{rgw_port}"
        try:
            _start_storage(cluster, mon_port)
            _make_user(cluster)
            gateway = cluster.start("radosgw", "radosgw", "-n", "client.rgw")
            gateway.wait_until(lambda: http_answers(endpoint), seconds=120)
            yield S3Server(endpoint)
        finally:
            cluster.stop()


def _start_storage(cluster: _Cluster, mon_port: int) -> None:
    folder = cluster.folder
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    monmap, fsid = folder / "monmap", (folder / "ceph.conf").read_text().split("fsid = ")[1].split()[0]
    address = f"[v2:127.0.0.1:{mon_port}]"
    make = ["--create", "--clobber", "--fsid", fsid, "--addv", "a", address, str(monmap)]
    subprocess.run([program("monmaptool", "ceph-base"), *make], check=True, capture_output=True)
    cluster.run("ceph-mon", "ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monmap))
    cluster.start("ceph-mon", "ceph-mon", "-i", "a")
    osd = str(uuid.uuid4())
    cluster.run("ceph", "ceph-common", "--connect-timeout", "60", "osd", "new", osd)
    cluster.run("ceph-osd", "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    cluster.start("ceph-osd", "ceph-osd", "-i", "0")


def _make_user(cluster: _Cluster) -> None:
    keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
    create = ["user", "create", "--uid", "hythe", "--display-name", "hythe", "--max-buckets", "0", *keys]
    cluster.run("radosgw-admin", "radosgw", "-n", "client.rgw", *create)


def create_bucket(server: S3Server, name: str) -> None:
    """Create an empty bucket (signed with version 2), which obstore does not support."""
    date = email.utils.formatdate(usegmt=True)
    digest = hmac.digest(server.secret_key.encode(), f"PUT\n\n\n{date}\n/{name}".encode(), "sha1")
    signature = base64.b64encode(digest).decode()
    headers = {"Date": date, "Authorization": f"AWS {server.access_key}:{signature}"}
    request = urllib.request.Request(f"{server.endpoint}/{name}", method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=60):
        pass


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """The session's S3 server."""
    with running_s3() as server:
        yield server


@pytest.fixture
def s3_bucket(s3: S3Server) -> str:
    """Name of an empty bucket of the session's server."""
    name = f"test-{uuid.uuid4().hex}"
    create_bucket(s3, name)
    return name
