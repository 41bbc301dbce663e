# Brings a Debian or Ubuntu machine to what Fairway needs. Sourced by bin/up and bin/test.
#
# Installs only what is missing, from the distribution's own packages, and starts the container
# engine when none runs (also on machines without systemd).

# How long the engine may take to answer after its start, in seconds.
ENGINE_START_SECS_MAX=60

say() { printf '\n-----> %s\n' "$*" >&2; }
detail() { printf '       %s\n' "$*" >&2; }
fail() {
    printf ' !     %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

# run_step TITLE COMMAND...: runs a long command with its output in a log, and says what it cost.
run_step() {
    local title=$1 log started=$SECONDS
    shift
    log=$(mktemp -t fairway-step.XXXXXX)
    printf '       %s ... ' "$title" >&2
    if "$@" >"$log" 2>&1 </dev/null; then
        printf 'done, %s s\n' $((SECONDS - started)) >&2
        rm -f "$log"
    else
        printf 'failed after %s s\n' $((SECONDS - started)) >&2
        tail -n 40 "$log" >&2
        fail "$title failed." "The whole output is in $log"
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

# need_packages PACKAGE...: installs those that are not there.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    command -v apt-get >/dev/null ||
        fail "This needs Debian or Ubuntu (apt-get was not found)." \
            "Install these yourself and run it again: ${missing[*]}"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        fail "These packages are missing: ${missing[*]}" "Run it again as root, or install sudo."
    fi
    run_step "Updating the package lists" as_root apt-get update -qq
    run_step "Installing ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# need_engine: a Docker Engine that answers, installed and started if need be.
need_engine() {
    if ! command -v dockerd >/dev/null && ! engine_answers; then
        need_packages docker.io tini iptables
    fi
    engine_answers || start_engine
    detail "Docker Engine $(docker version --format '{{.Server.Version}}')"
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker || true
    fi
    if ! engine_answers; then
        # No systemd (a container, WSL, a minimal VM): the daemon runs on its own. One that was
        # killed left its pid file, whose number may be another process's by now.
        pidof dockerd >/dev/null || as_root rm -f /var/run/docker.pid
        as_root sh -c 'mkdir -p /var/log && setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &'
    fi
    local waited=0
    until engine_answers; do
        [ $waited -ge $((ENGINE_START_SECS_MAX * 5)) ] &&
            fail "The container engine did not start within $ENGINE_START_SECS_MAX s." \
                "Its log: /var/log/dockerd.log or 'journalctl -u docker'." \
                "If it runs and you may not use it: add yourself to the group 'docker'."
        waited=$((waited + 1))
        sleep 0.2
    done
}

need_rust() {
    [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null ||
        fail "The Rust toolchain was not found." "Install it from https://rustup.rs, then run this again."
}

# prepare_machine: all of it. git and cc are needed to build, mmdebstrap to make the stack images,
# iproute2, nftables and iptables for the pod network.
prepare_machine() {
    say "Preparing this machine"
    need_rust
    need_packages git gcc libc6-dev ca-certificates curl mmdebstrap iproute2 nftables iptables
    need_engine
}

# True while the Fairway of a data directory runs. After a reboot its process number may be somebody
# else's, so the command line is looked at too.
is_running() {
    local data=$1 pid
    pid=$(cat "$data/fairway.pid" 2>/dev/null) && [ -n "$pid" ] &&
        tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "fairway up --data $data "
}
