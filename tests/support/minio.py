# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real MinIO with TLS, key management, users and policies. It and its `mc` are compiled once (about five minutes)."""

from __future__ import annotations

import base64
import datetime
import fcntl
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

from .servers import Server, free_ports, short_directory

VERSIONS = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "mc": "github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9",
}
PROGRAMS = Path(__file__).parents[2] / ".build" / "go-bin"
POLICIES = Path(__file__).parents[2] / "docs" / "policies"
REGION = "eu-test-1"
KMS_KEY = "holdfast-tests"


def program(name: str) -> Path:
    """The path of `minio` or `mc`, compiled when it is not there yet."""
    path = PROGRAMS / name
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with (PROGRAMS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes need not compile it twice
        if not path.exists():
            if shutil.which("go") is None:
                raise FileNotFoundError(f"no `go` in PATH to compile {name} with (1.24 or newer)")
            environment = {**os.environ, "GOBIN": str(PROGRAMS)}
            subprocess.run(["go", "install", VERSIONS[name]], env=environment, check=True)
    return path


def certificate(directory: Path, host: str = "127.0.0.1") -> Path:
    """Make `public.crt` and `private.key`, as MinIO calls them; returns the file of the authority that signed them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"tests {uuid.uuid4().hex[:8]}")])

    def signed(subject: x509.Name, public_key: Any, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(authority).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=2))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca = directory / "ca.pem"
    ca.write_bytes(signed(authority, authority_key.public_key(), (x509.BasicConstraints(True, None), True)))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    (directory / "public.crt").write_bytes(signed(subject, key.public_key(), (names, False)))
    private = directory / "private.key"
    private.touch(0o600)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ca


class MinIO:
    """`with MinIO() as store: store.client().put_object(...)`.

    Attributes: endpoint (https), ca (the authority behind its certificate), access_key/secret_key (the administrator).

    Args:
        data: where its objects lie; a directory of its own unless given.
    """

    region = REGION

    def __init__(self, data: Path | None = None) -> None:
        self.home = short_directory("hf-minio-")
        self.data = data or self.home / "data"
        self.access_key, self.secret_key = "testadmin", uuid.uuid4().hex
        self.ca = certificate(self.home / "certs")
        self.port = 0
        self._server: Server | None = None

    def __enter__(self) -> MinIO:
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
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port, console = free_ports(2)
        self.data.mkdir(exist_ok=True)
        # An authority that lies beside the certificates is one that MinIO itself trusts.
        own = self.home / "own"
        own.mkdir(exist_ok=True)
        for name in ("public.crt", "private.key"):
            shutil.copy2(self.home / "certs" / name, own / name)
        environment = {
            **os.environ,
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_SITE_REGION": REGION,
            "MINIO_KMS_SECRET_KEY": f"{KMS_KEY}:{base64.b64encode(os.urandom(32)).decode()}",
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_CI_CD": "on",  # takes the disk of the operating system
        }
        self._server = Server(
            [
                str(program("minio")),
                "server",
                str(self.data),
                f"--address=127.0.0.1:{self.port}",
                f"--console-address=127.0.0.1:{console}",
                f"--certs-dir={own}",
            ],
            log=self.home / "server.log",
            env=environment,
            cwd=self.home,
        )
        self._server.wait_ready(self._answers, "MinIO")

    def close(self) -> None:
        if self._server is not None:
            self._server.stop(signal.SIGKILL)
            self._server = None
        shutil.rmtree(self.home, ignore_errors=True)

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def client(self, keys: tuple[str, str] | None = None) -> Any:
        """A boto3 client, of the administrator unless told otherwise."""
        import boto3
        from botocore.config import Config

        access_key, secret_key = keys or (self.access_key, self.secret_key)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=str(self.ca),
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def mc(self, *arguments: str) -> str:
        """Run MinIO's own administration tool; `m` is this server."""
        configuration = self.home / "mc"
        authorities = configuration / "certs" / "CAs"
        authorities.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.ca, authorities / "tests.crt")
        environment = {**os.environ, "MC_HOST_m": f"https://{self.access_key}:{self.secret_key}@127.0.0.1:{self.port}"}
        done = subprocess.run(
            [program("mc"), "--config-dir", str(configuration), "--json", *arguments],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise AssertionError(
                f"mc {arguments[0]} {arguments[1]} exited {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    def create_bucket(self, lock: bool = False) -> str:
        name = f"t-{uuid.uuid4().hex[:16]}"
        self.client().create_bucket(
            Bucket=name, ObjectLockEnabledForBucket=lock, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        return name

    def user(
        self, policy: str, bucket: str, prefix: str, *more_actions: str, without: str | None = None
    ) -> tuple[str, str]:
        """A new user with one of the shipped policies; access key and secret key.

        `more_actions` are added to the statement that allows puts, where a document tells the reader to do so;
        `without` names a statement (its Sid) that is left out.
        """
        keys = (f"u{uuid.uuid4().hex[:12]}", uuid.uuid4().hex)
        document = json.loads(shipped(policy, bucket, prefix))
        document["Statement"] = [one for one in document["Statement"] if one["Sid"] != without]
        for statement in document["Statement"]:
            if statement["Effect"] == "Allow" and "s3:PutObject" in statement["Action"]:
                statement["Action"] += more_actions
        path = self.home / f"{keys[0]}.json"
        path.write_text(json.dumps(document))
        self.mc("admin", "user", "add", "m", *keys)
        self.mc("admin", "policy", "create", "m", keys[0], str(path))
        self.mc("admin", "policy", "attach", "m", keys[0], "--user", keys[0])
        return keys


def shipped(policy: str, bucket: str, prefix: str) -> str:
    """A policy of docs/policies with its two placeholders filled in, as the page says."""
    text = (POLICIES / policy).read_text(encoding="utf-8")
    return text.replace("BUCKET", bucket).replace("PREFIX", prefix)
