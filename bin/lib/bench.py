"""What the measurements share: a platform of their own, rounds, medians and the closing lines."""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("FAIRWAY_BIN", ROOT / "target/release"))

# How long nothing may have changed until a machine counts as quiet, in seconds: longer than the
# agent waits before it makes networks for the next pods.
QUIET_SECS = 4

# How long the platform may take to start, and anything measured may take, in seconds.
START_SECS_MAX = 600
WAIT_SECS_MAX = 120


def run(*args, env=None, cwd=None, check=True, stdin=None):
    """Runs a command quietly; on failure shows what it said."""
    done = subprocess.run(
        [str(a) for a in args], env=env, cwd=cwd, input=stdin, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(map(str, args))} failed:\n{done.stdout}")
    return done.stdout


class Platform:
    """A Fairway of the release build in a fresh data directory on free ports."""

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="fairway-bench-"))
        self.data = self.home / "data"
        progress = self.home / "progress"
        progress.touch()
        cache = os.environ.get("FAIRWAY_STACK_CACHE", str(ROOT / "target/fairway-stack-cache"))
        self.log = open(self.home / "log", "w")
        listen = [part for name in ("api", "ssh", "registry", "http", "cluster")
                  for part in (f"--listen-{name}", "127.0.0.1:0")]
        self.process = subprocess.Popen(
            [BIN / "fairway", "up", "--data", self.data, "--progress", progress,
             "--stack-cache", cache, "--buildpacks", ROOT / "buildpacks", *listen],
            stdout=self.log, stderr=self.log, cwd=self.home,
            env=dict(os.environ, FAIRWAY_LOG="info,phase=debug,russh=warn,hyper=warn,sqlx=warn,bollard=warn"))
        wait_for(lambda: "ready" in progress.read_text().splitlines() or self.process.poll(),
                 START_SECS_MAX, "the platform to start")
        if self.process.poll() is not None:
            sys.exit((self.home / "log").read_text())
        self.ports = {name: int(address.rsplit(":", 1)[1]) for name, address
                      in json.loads((self.data / "addresses.json").read_text()).items()}
        self.url = f"http://localhost:{self.ports['api']}"
        self.env = dict(
            os.environ, HOME=str(self.home), FAIRWAY_URL=self.url,
            FAIRWAY_TOKEN=(self.data / "admin-token").read_text().strip(),
            GIT_CONFIG_GLOBAL="/dev/null", GIT_TERMINAL_PROMPT="0",
            GIT_AUTHOR_NAME="Bench", GIT_AUTHOR_EMAIL="bench@example.com",
            GIT_COMMITTER_NAME="Bench", GIT_COMMITTER_EMAIL="bench@example.com",
            GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="credential.helper",
            GIT_CONFIG_VALUE_0="!f() { echo username=token; echo \"password=$FAIRWAY_TOKEN\"; }; f")

    def app(self, *args):
        return run(BIN / "app", *args, env=self.env)

    def repository(self, app, example):
        """An app, and a repository that pushes to it."""
        self.app("create", app, "--no-remote")
        path = self.home / app
        shutil.copytree(ROOT / "examples" / example, path)
        self.git(path, "init", "-q", "-b", "main")
        self.git(path, "remote", "add", "fairway", f"{self.url}/{app}.git")
        return path

    def git(self, path, *args):
        return run("git", *args, cwd=path, env=self.env)

    def app_url(self, app, path="/"):
        return f"http://127.0.0.1:{self.ports['http']}{path}", f"{app}.localhost"

    def log_size(self):
        """How long the log is now; what is logged from here on is read with `phases`."""
        return (self.home / "log").stat().st_size

    def phases(self, since):
        """Milliseconds per phase of a push, as the parts logged them from `since` on."""
        with open(self.home / "log", "rb") as log:
            log.seek(since)
            text = log.read().decode()
        phases = {}
        for name, millis in re.findall(r'phase: phase="([^"]+)" millis=([\d.]+)', text):
            phases[name] = phases.get(name, 0) + float(millis)
        return phases

    def containers(self):
        """Everything of it that the engine has, with its state."""
        instance = (self.data / "instance").read_text().strip()
        return run("docker", "ps", "-a", "--filter", f"label=dev.fairway.instance={instance}",
                   "--format", "{{.ID}} {{.State}}")

    def settle(self):
        """Waits until what went before has ended: pushes come minutes apart, and what is cleaned up
        and made ready between them would be part of whatever is measured next."""
        seen, since = self.containers(), time.monotonic()
        end = since + WAIT_SECS_MAX
        while time.monotonic() - since < QUIET_SECS:
            if time.monotonic() > end:
                sys.exit(f"waited {WAIT_SECS_MAX} s in vain for a quiet machine")
            time.sleep(0.1)
            now = self.containers()
            if now != seen:
                seen, since = now, time.monotonic()

    def stop(self):
        instance = (self.data / "instance").read_text().strip()
        self.process.terminate()
        self.process.wait()
        label = f"label=dev.fairway.instance={instance}"
        for ids, remove in ((run("docker", "ps", "-aq", "--filter", label), ["rm", "-f"]),
                            (run("docker", "network", "ls", "-q", "--filter", label), ["network", "rm"])):
            for name in ids.split():
                run("docker", *remove, name, check=False)
        shutil.rmtree(self.home, ignore_errors=True)


def wait_for(condition, secs=WAIT_SECS_MAX, what="it"):
    """Polls often; the poll interval is part of both sides of every comparison."""
    end = time.monotonic() + secs
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited {secs} s in vain for {what}")
        time.sleep(0.005)


def answers_with(url, text, host=None):
    """True when the page answers 200 with this text."""
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return text in response.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def timed(action):
    """Seconds that an action took."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def table(title, rows):
    print(f"\n{title}")
    width = max(len(row[0]) for row in rows)
    for row in rows:
        print(f"  {row[0]:<{width}}  " + "  ".join(f"{cell:>10}" for cell in row[1:]))


def ratio(ours, peers, what, peer):
    print(f"ratio: {statistics.median(ours) / statistics.median(peers):.2f} {what} {peer}")
