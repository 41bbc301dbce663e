"""Fetches packages from the npm registry without Node.js, since Node.js itself comes from there.

usage: fetch.py PACKAGE RANGE FOLDER     prints the version that was unpacked into FOLDER
"""

import base64
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request

import semver

# A registry answers within this time or counts as gone.
TIMEOUT_SECS = 60
# How often a request is tried.
TRIES = 3
CHUNK_BYTES = 1 << 20


def fail(*lines):
    for line in lines:
        print(f" !     {line}", file=sys.stderr)
    sys.exit(1)


def registry():
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    return "https://registry.npmjs.org"


def opened(url, accept="*/*"):
    request = urllib.request.Request(url, headers={"Accept": accept})
    for left in reversed(range(TRIES)):
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_SECS)
        except urllib.error.HTTPError as error:
            if error.code < 500 or not left:
                fail(f"{url} answered {error.code} {error.reason}.")
        except OSError as error:
            if not left:
                fail(
                    f"{url} is out of reach: {error}.",
                    "An operator sets proxies, mirrors and certificates for builds.",
                )


def package(name, wanted):
    """What the registry knows of the newest version in a range."""
    url = f"{registry()}/{name}"
    with opened(url, "application/vnd.npm.install-v1+json") as answer:
        versions = json.load(answer)["versions"]
    try:
        version = semver.best(versions, wanted)
    except semver.BadRange as error:
        fail(f"{wanted!r} is not a range of versions: {error}.", 'Write for example "24.x".')
    if version is None:
        known = sorted(filter(None, map(semver.parse, versions)))
        newest = {entry[0]: ".".join(map(str, entry)) for entry in known}
        fail(
            f"There is no version of {name} in {wanted!r}.",
            "The newest there are: " + ", ".join(list(newest.values())[-8:]) + ".",
        )
    return version, versions[version]["dist"]


def download(dist, file):
    """Writes the package's archive, and checks it."""
    kind, _, digest = dist.get("integrity", "").partition("-")
    hasher = hashlib.new(kind) if kind in ("sha512", "sha384", "sha256") else hashlib.sha1()
    url = dist["tarball"]
    if os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY"):
        # Mirrors often repeat the original's address; what was asked has to be asked there too.
        url = url.replace("https://registry.npmjs.org", registry(), 1)
    with opened(url) as answer:
        while chunk := answer.read(CHUNK_BYTES):
            hasher.update(chunk)
            file.write(chunk)
    found = hasher.digest()
    expected = base64.b64decode(digest) if kind else bytes.fromhex(dist["shasum"])
    if found != expected:
        fail(f"{url} is not what the registry says it should be; its digest differs.")


def unpack(file, folder):
    """Unpacks the archive without its outer folder."""
    with tarfile.open(fileobj=file, mode="r:gz") as archive:
        for member in archive:
            _, _, name = member.name.partition("/")
            if not name or ".." in name.split("/") or not (member.isfile() or member.isdir()):
                continue
            path = os.path.join(folder, name)
            if member.isdir():
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.extractfile(member) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
            os.chmod(path, 0o755 if member.mode & 0o100 else 0o644)


def main(name, wanted, folder):
    version, dist = package(name, wanted)
    with tempfile.TemporaryFile() as file:
        download(dist, file)
        file.seek(0)
        unpack(file, folder)
    print(version)


if __name__ == "__main__":
    main(*sys.argv[1:])
