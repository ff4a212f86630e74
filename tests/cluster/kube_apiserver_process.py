"""A real kube-apiserver over a real etcd, started as controller-runtime's envtest starts them: both from the
folder that KUBEBUILDER_ASSETS names, on free ports of this machine, with nothing else of a cluster.

https://book.kubebuilder.io/reference/envtest
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.eventing.doors.certificates import certificate

ASSETS = "KUBEBUILDER_ASSETS"
WITHOUT = (
    f"{ASSETS} names no folder with kube-apiserver and etcd: go run"
    " sigs.k8s.io/controller-runtime/tools/setup-envtest@latest use -p path prints one"
)
SECONDS = 180
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    # What nobody was let in for is written down at ResponseStarted only.
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "users": ["system:apiserver"]}, {"level": "Metadata"}],
}


def assets() -> Path | None:
    """The folder with both binaries, if there is one."""
    folder = Path(os.environ.get(ASSETS, "/nowhere"))
    return folder if (folder / "kube-apiserver").exists() and (folder / "etcd").exists() else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Both processes. The API server may be stopped and started again; etcd keeps what it stored."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self.admin = uuid.uuid4().hex
        self.audit = folder / "audit.log"
        self._etcd, self._peer, self._port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self._tls = certificate(folder / "tls")
        self.authority = self._tls[0]
        self.trusted = ssl.create_default_context(cafile=str(self.authority))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        _key_pair(folder)
        (folder / "tokens.csv").write_text(f"{self.admin},admin,admin,system:masters\n")
        (folder / "audit.yaml").write_text(yaml.safe_dump(AUDIT))

    def start(self) -> None:
        address = f"http://127.0.0.1:{self._etcd}"
        peers = f"http://127.0.0.1:{self._peer}"
        self._begin(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={address}",
            f"--advertise-client-urls={address}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        )
        self._wait("etcd", lambda: httpx.get(f"{address}/health").text.find("true") > 0)
        self.start_api()

    def start_api(self) -> None:
        self._begin(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={self._folder / 'certs'}",
            f"--tls-cert-file={self._tls[0]}",
            f"--tls-private-key-file={self._tls[1]}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._folder / 'accounts.pub'}",
            f"--service-account-signing-key-file={self._folder / 'accounts.key'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            f"--audit-policy-file={self._folder / 'audit.yaml'}",
            f"--audit-log-path={self.audit}",
            "--audit-log-mode=blocking-strict",
        )
        headers = {"authorization": f"Bearer {self.admin}"}
        with httpx.Client(base_url=self.url, verify=self.trusted, headers=headers) as http:
            self._wait("kube-apiserver", lambda: http.get("/readyz").status_code == 200)

    def stop_api(self) -> None:
        self._end("kube-apiserver")

    def stop(self) -> None:
        for name in list(reversed(self._running)):
            self._end(name)

    def _begin(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [str(self._binaries / name), *arguments]
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def _end(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and self._running[name].poll() is None:
            try:
                if ready():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        log = (self._folder / f"{name}.log").read_text(errors="replace")[-3000:]
        raise AssertionError(f"{name} is not ready: {log}")


def _key_pair(folder: Path) -> None:
    """What ServiceAccounts' tokens are signed with, and checked by."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "accounts.key").write_bytes(private)
    (folder / "accounts.pub").write_bytes(public)
